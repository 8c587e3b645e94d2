package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/config"
)

// containersDir is where is written down what backups of containers have paused.
func containersDir(d config.Dirs) string { return filepath.Join(d.State, "containers") }

const journalSuffix = ".held.json"

// LockProject keeps a project of containers for the caller, until unlock or the
// end of the process, and returns the file in which is written down what is
// paused. ErrBusy.
func LockProject(d config.Dirs, project string) (journal string, unlock func() error, err error) {
	if project == "" || strings.ContainsAny(project, `/\`) || project[0] == '.' {
		return "", nil, fmt.Errorf("%q is no name of a project", project)
	}
	lock, err := takeLock(filepath.Join(containersDir(d), project+".lock"))
	if errors.Is(err, ErrRunning) {
		return "", nil, fmt.Errorf("%w: a backup or restore of %s is under way", ErrBusy, project)
	}
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(containersDir(d), project+journalSuffix), lock.Close, nil
}

// HeldProjects are the projects of which something may be paused still: a backup
// of them runs, or was killed.
func HeldProjects(d config.Dirs) ([]string, error) {
	list, err := os.ReadDir(containersDir(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, f := range list {
		if name, ok := strings.CutSuffix(f.Name(), journalSuffix); ok {
			names = append(names, name)
		}
	}
	return names, err
}
