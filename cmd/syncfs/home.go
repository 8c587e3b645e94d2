package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
)

// dirs are where this HOME keeps its things.
func (e *env) dirs() (config.Dirs, error) { return config.UserDirs(e.getenv) }

// settings are what the user set.
func (e *env) settings(dirs config.Dirs) (config.Config, error) {
	return config.Load(filepath.Join(dirs.Config, "config.toml"))
}

// withReader opens the past of this HOME's repository for fn.
func (e *env) withReader(ctx context.Context, fn func(*agent.Reader) error) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	c, err := e.settings(dirs)
	if err != nil {
		return err
	}
	r, err := agent.OpenReader(ctx, dirs, e.logger())
	if err != nil {
		return err
	}
	r.SetLimits(agent.Limits{Upload: int64(c.Limit.Upload), Download: int64(c.Limit.Download)})
	return errors.Join(fn(r), r.Close())
}

// withRepository opens the repository itself for fn.
func (e *env) withRepository(ctx context.Context, fn func(*agent.Repository) error) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	r, err := agent.OpenRepository(ctx, dirs, e.logger())
	if err != nil {
		return err
	}
	return fn(r)
}

// withAgent speaks to the agent of this HOME, which must be running.
func (e *env) withAgent(fn func(*agent.Client) error) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	c, err := agent.Dial(dirs)
	if err != nil {
		if _, connected := agent.Connected(dirs); errors.Is(err, agent.ErrNotRunning) && connected != nil {
			return connected
		}
		return err
	}
	return errors.Join(fn(c), c.Close())
}

// withStartedAgent speaks to the agent, and starts it in the background when
// none is running.
func (e *env) withStartedAgent(ctx context.Context, fn func(*agent.Client) error) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	c, err := agent.Dial(dirs)
	if errors.Is(err, agent.ErrNotRunning) {
		if _, err := agent.Connected(dirs); err != nil {
			return err
		}
		if err := e.startAgent(ctx, dirs); err != nil {
			return err
		}
		c, err = agent.Dial(dirs)
	}
	if err != nil {
		return err
	}
	return errors.Join(fn(c), c.Close())
}

// running tells whether an agent serves this HOME.
func (e *env) running() bool {
	dirs, err := e.dirs()
	if err != nil {
		return false
	}
	c, err := agent.Dial(dirs)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// folderByName finds a folder among those of the repository; the error names
// what there is.
func folderByName(list []agent.FolderInfo, name string) (agent.FolderInfo, error) {
	for _, f := range list {
		if f.Name == name {
			return f, nil
		}
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
	}
	if len(names) == 0 {
		return agent.FolderInfo{}, fmt.Errorf("%w: %q; the repository has none yet", agent.ErrUnknown, name)
	}
	return agent.FolderInfo{}, fmt.Errorf("%w: %q; the repository has %s", agent.ErrUnknown, name, strings.Join(names, ", "))
}
