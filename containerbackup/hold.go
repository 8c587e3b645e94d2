package containerbackup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// journal is what is written down before a container is made to hold still, so
// that whoever comes next can put it right.
type journal struct {
	Format     int       `json:"format"`
	Project    string    `json:"project"`
	Since      time.Time `json:"since"`
	Containers []heldOne `json:"containers"`
}

// heldOne is a container that ran, and how it is held.
type heldOne struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	How  string `json:"how"` // holdPause, holdStop
}

const journalFormat = 1

// releaseTime bounds how long letting go may take: a backup that was interrupted
// lets go all the same.
const releaseTime = 2 * time.Minute

// holding are containers that are kept from writing.
type holding struct {
	e    *Engine
	path string // of the journal
	j    journal
	at   time.Time // since then all hold still
	done bool
}

// hold stops and pauses containers, as said for each, in this order: what takes
// longest first, so that the others wait the shortest. release must be called,
// whatever happens.
func (e *Engine) hold(ctx context.Context, path, project string, list []heldOne, now func() time.Time) (*holding, error) {
	h := &holding{e: e, path: path, at: now()}
	if len(list) == 0 {
		h.done = true
		return h, nil
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b heldOne) int { return strings.Compare(b.How, a.How) })
	h.j = journal{Format: journalFormat, Project: project, Since: now().UTC(), Containers: list}
	data, err := json.MarshalIndent(h.j, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("write down what is paused: %w", err)
	}
	for _, c := range list {
		if c.How == holdStop {
			_, err = e.api.ContainerStop(ctx, c.ID, client.ContainerStopOptions{})
		} else {
			_, err = e.api.ContainerPause(ctx, c.ID, client.ContainerPauseOptions{})
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s container %s: %w", c.How, c.Name, err), h.release(ctx))
		}
	}
	h.at = now()
	return h, nil
}

// release makes run again what ran, and forgets the journal when that is done.
// ErrDied where a container has ended meanwhile.
func (h *holding) release(ctx context.Context) error {
	if h.done {
		return nil
	}
	h.done = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	return h.e.letGo(ctx, h.path, h.j)
}

func (e *Engine) letGo(ctx context.Context, path string, j journal) error {
	var errs []error
	var died error
	for _, c := range slices.Backward(j.Containers) {
		err := e.runAgain(ctx, c)
		if errors.Is(err, ErrDied) {
			died = errors.Join(died, err)
		} else if err != nil {
			errs = append(errs, fmt.Errorf("let container %s go on: %w", c.Name, err))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w\nwhat still holds is written down in %s: the next `syncfs container` command tries again", errors.Join(append(errs, died)...), path)
	}
	return errors.Join(died, atomicfile.Remove(path))
}

// runAgain lets one container go on, whatever state it was left in.
func (e *Engine) runAgain(ctx context.Context, c heldOne) error {
	got, err := e.api.ContainerInspect(ctx, c.ID, client.ContainerInspectOptions{})
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: %s is gone", ErrDied, c.Name)
	}
	if err != nil {
		return err
	}
	st := got.Container.State
	switch {
	case st == nil:
		return errors.New("the engine does not tell its state")
	case st.Paused:
		_, err = e.api.ContainerUnpause(ctx, c.ID, client.ContainerUnpauseOptions{})
	case !st.Running:
		if _, err = e.api.ContainerStart(ctx, c.ID, client.ContainerStartOptions{}); err == nil && c.How == holdPause {
			err = fmt.Errorf("%w: %s (exit code %d); it was started again", ErrDied, c.Name, st.ExitCode)
		}
	}
	return err
}

// PutRight makes run again what a backup has paused or stopped that was killed.
// It returns the names; none where path is no journal.
func (e *Engine) PutRight(ctx context.Context, path string) ([]string, error) {
	var j journal
	err := readJSON(path, &j)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if j.Format != journalFormat {
		return nil, fmt.Errorf("%s: format %d: %w", path, j.Format, ErrNewer)
	}
	var names []string
	for _, c := range j.Containers {
		names = append(names, c.Name)
	}
	err = e.letGo(ctx, path, j)
	if errors.Is(err, ErrDied) { // whoever ended it, since, is not for us to say
		err = nil
	}
	return names, err
}
