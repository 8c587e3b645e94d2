package containerbackup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/client"
)

// Drilled is what a drill has found.
type Drilled struct {
	Restored *Restored
	Checked  []string // what was looked at, for people
}

// Drill restores a snapshot as a project of its own that publishes no port and
// shares nothing with the original, looks whether databases hold what was dumped
// and health checks are content, and removes all that it has made. The error says
// why the backup is of no use.
func (e *Engine) Drill(ctx context.Context, o RestoreOptions) (_ *Drilled, err error) {
	info, err := ReadInfo(ctx, o.Trees, o.Contents, o.Root)
	if err != nil {
		return nil, err
	}
	var random [3]byte
	rand.Read(random[:]) // never fails
	o.drill = info.Project + "-drill-" + hex.EncodeToString(random[:])
	o.As, o.Only = o.drill, nil
	o.Confirm = func(Replaces) error { return fmt.Errorf("%w: %s", ErrOccupied, o.drill) }
	r, err := e.newRestore(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, r.cleanUp(context.WithoutCancel(ctx)))
	}()
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	d := &Drilled{Restored: &r.done}
	return d, r.inspect(ctx, d)
}

// inspect looks whether what was restored is what was saved.
func (r *restore) inspect(ctx context.Context, d *Drilled) error {
	for _, c := range r.plan.containers {
		if c.base == nil {
			continue
		}
		how := dialects()[c.base.Kind]
		if how.list == "" {
			d.Checked = append(d.Checked, fmt.Sprintf("%s: %s answers", c.saved.Name, c.base.Kind))
			continue
		}
		out, err := r.e.output(ctx, r.ids[c.name], command{args: how.script(how.list), user: c.config.Labels[prefixShort+".user"]})
		if err != nil {
			return fmt.Errorf("ask %s for its databases: %w", c.saved.Name, err)
		}
		have := strings.Split(out, "\n")
		for _, dump := range c.base.Dumps {
			if dump.Database == "" {
				continue
			}
			if !slices.Contains(have, dump.Database) {
				return fmt.Errorf("%w: after the import %s has no database %s", ErrMismatch, c.saved.Name, dump.Database)
			}
			d.Checked = append(d.Checked, fmt.Sprintf("%s: database %s imported", c.saved.Name, dump.Database))
		}
	}
	for _, v := range r.plan.volumes {
		if v.path != "" {
			d.Checked = append(d.Checked, fmt.Sprintf("volume %s: %d files", v.saved.Name, v.saved.Files))
		}
	}
	for _, c := range r.plan.containers {
		if c.saved.Running && slices.Contains(r.done.Started, c.name) {
			d.Checked = append(d.Checked, c.saved.Name+": runs, health checks are content")
		}
	}
	return nil
}

// cleanUp removes what a drill has made, by its label, and the images that it has
// loaded.
func (r *restore) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseTime)
	defer cancel()
	var errs []error
	label := make(client.Filters).Add("label", labelDrill+"="+r.o.drill)
	containers, err := r.e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: label})
	errs = append(errs, err)
	for _, c := range containers.Items {
		_, err := r.e.api.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	volumes, err := r.e.api.VolumeList(ctx, client.VolumeListOptions{Filters: label})
	errs = append(errs, err)
	for _, v := range volumes.Items {
		_, err := r.e.api.VolumeRemove(ctx, v.Name, client.VolumeRemoveOptions{})
		errs = append(errs, err)
	}
	networks, err := r.e.api.NetworkList(ctx, client.NetworkListOptions{Filters: label})
	errs = append(errs, err)
	for _, n := range networks.Items {
		_, err := r.e.api.NetworkRemove(ctx, n.ID, client.NetworkRemoveOptions{})
		errs = append(errs, err)
	}
	for _, id := range r.loaded {
		_, err := r.e.api.ImageRemove(ctx, id, client.ImageRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what the drill has made (label %s=%s): %w", labelDrill, r.o.drill, err)
	}
	return nil
}
