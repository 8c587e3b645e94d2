package containerbackup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/versions"
)

// RestoreOptions say what is brought back, and as what.
type RestoreOptions struct {
	Root     versions.Entry // of the snapshot
	As       string         // another name for the project, whose original is left alone; "": its own
	Only     []string       // services; none: all
	Trees    *versions.Trees
	Contents *versions.Contents
	Wait     time.Duration // how long a database or a health check may take; 0: five minutes
	// Confirm is asked before anything is replaced that is there; its error ends
	// the restore with nothing changed.
	Confirm func(Replaces) error
	Note    func(format string, args ...any) // told of each step, by several goroutines

	drill string // see renamer
}

// Replaces is what a restore puts something else in place of.
type Replaces struct {
	Project    string
	Containers []string
	Volumes    []string // their content
	Binds      []string // files in them that the backup has as well
}

// None tells whether nothing is there yet.
func (r Replaces) None() bool { return len(r.Containers)+len(r.Volumes)+len(r.Binds) == 0 }

// Restored is what a restore has made.
type Restored struct {
	Project    string
	Containers []string
	Started    []string
	Volumes    []string
	Databases  []string
	Ports      []string // "container 80/tcp -> 0.0.0.0:32768"
	Notes      []string // what a user should know
}

// restore is one run of Restore.
type restore struct {
	e     *Engine
	o     RestoreOptions
	info  *Info
	plan  *planned
	ids   map[string]string // of containers that were made, by name
	image map[string]string // what containers name their image by, by its id
	// loaded are the images that the engine had not got.
	loaded []string
	done   Restored
}

const defaultWait = 5 * time.Minute

// Plan says what Restore would replace, and changes nothing.
func (e *Engine) Plan(ctx context.Context, o RestoreOptions) (Replaces, []string, error) {
	r, err := e.newRestore(ctx, o)
	if err != nil {
		return Replaces{}, nil, err
	}
	there, err := r.replaces(ctx)
	var names []string
	for _, c := range r.plan.containers {
		names = append(names, c.name)
	}
	return there, names, err
}

func (e *Engine) newRestore(ctx context.Context, o RestoreOptions) (*restore, error) {
	if o.Wait <= 0 {
		o.Wait = defaultWait
	}
	if !e.local() {
		return nil, fmt.Errorf("volumes of the engine at %s are on another machine: run syncfs there", e.host)
	}
	info, err := ReadInfo(ctx, o.Trees, o.Contents, o.Root)
	if err != nil {
		return nil, err
	}
	plan, err := makePlan(info, o.As, o.drill, o.Only)
	if err != nil {
		return nil, err
	}
	return &restore{
		e: e, o: o, info: info, plan: plan, ids: map[string]string{}, image: map[string]string{},
		done: Restored{Project: plan.project, Notes: slices.Clone(plan.notes)},
	}, nil
}

// Restore brings a project back. It may be run again after an error: what stands
// then is replaced or used. ErrOccupied where something that is not the project's
// is in the way; ErrCannotName; ErrUnhealthy where all stands but does not get
// well.
func (e *Engine) Restore(ctx context.Context, o RestoreOptions) (*Restored, error) {
	r, err := e.newRestore(ctx, o)
	if err != nil {
		return nil, err
	}
	err = r.run(ctx)
	return &r.done, err
}

// run is Restore.
func (r *restore) run(ctx context.Context) error {
	there, err := r.replaces(ctx)
	if err != nil {
		return err
	}
	if !there.None() {
		if err := r.o.Confirm(there); err != nil {
			return err
		}
	}
	// What takes long and harms nothing comes first, so that a backup that cannot
	// be read is noticed while all that is there still stands.
	for _, step := range []func(context.Context) error{
		r.checkContent, r.loadImages, r.removeContainers, r.makeNetworks, r.makeVolumes, r.fillBinds, r.makeContainers, r.startAll,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// replaces looks what is there already. ErrOccupied.
func (r *restore) replaces(ctx context.Context) (Replaces, error) {
	out := Replaces{Project: r.plan.project}
	for _, c := range r.plan.containers {
		got, err := r.e.api.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return out, fmt.Errorf("inspect container %s: %w", c.name, err)
		}
		if of := got.Container.Config.Labels[labelProject]; of != c.config.Labels[labelProject] {
			return out, fmt.Errorf("%w: the name %s is taken by a container of %s", ErrOccupied, c.name, orNothing(of))
		}
		out.Containers = append(out.Containers, c.name)
	}
	for _, v := range r.plan.volumes {
		_, err := r.e.api.VolumeInspect(ctx, v.name, client.VolumeInspectOptions{})
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return out, fmt.Errorf("inspect volume %s: %w", v.name, err)
		}
		if err := r.notOthers(ctx, v.name); err != nil {
			return out, err
		}
		if v.path != "" || v.saved.Dumped {
			out.Volumes = append(out.Volumes, v.name)
		}
	}
	for _, b := range r.plan.binds {
		out.Binds = append(out.Binds, b.source)
	}
	return out, nil
}

func orNothing(project string) string {
	if project == "" {
		return "no project"
	}
	return "project " + project
}

// notOthers refuses a volume that a container has which is not replaced.
func (r *restore) notOthers(ctx context.Context, volume string) error {
	list, err := r.e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("volume", volume)})
	if err != nil {
		return fmt.Errorf("list the users of volume %s: %w", volume, err)
	}
	for _, c := range list.Items {
		name := strings.TrimPrefix(strings.Join(c.Names, ""), "/")
		if !slices.ContainsFunc(r.plan.containers, func(p plannedContainer) bool { return p.name == name }) {
			return fmt.Errorf("%w: container %s, which is not restored, has volume %s", ErrOccupied, name, volume)
		}
	}
	return nil
}

// checkContent looks that all that is needed is in the snapshot, before anything
// of what is there is touched, and that dumps are as they were saved.
func (r *restore) checkContent(ctx context.Context) error {
	want, err := readSums(ctx, r.o.Trees, r.o.Contents, r.o.Root)
	if err != nil {
		return err
	}
	for _, c := range r.plan.containers {
		if c.base == nil {
			continue
		}
		for _, d := range c.base.Dumps {
			e, err := r.o.Trees.Resolve(ctx, r.o.Root, d.File)
			if err != nil {
				return fmt.Errorf("%s: %w", d.File, err)
			}
			got, err := sumOf(ctx, r.o.Contents, e)
			if err != nil {
				return fmt.Errorf("%s: %w", d.File, err)
			}
			if sum, ok := want.get(d.File); !ok || got != sum {
				return fmt.Errorf("%s: %w", d.File, ErrMismatch)
			}
		}
	}
	for _, v := range r.plan.volumes {
		if v.path == "" {
			continue
		}
		if _, err := r.o.Trees.Resolve(ctx, r.o.Root, v.path); err != nil {
			return fmt.Errorf("%s: %w", v.path, err)
		}
	}
	return nil
}

// removeContainers stops and removes what is replaced. Volumes stay.
func (r *restore) removeContainers(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range r.plan.containers {
		g.Go(func() error {
			_, err := r.e.api.ContainerInspect(ctx, c.name, client.ContainerInspectOptions{})
			if errdefs.IsNotFound(err) {
				return nil
			}
			if err == nil {
				_, err = r.e.api.ContainerStop(ctx, c.name, client.ContainerStopOptions{})
			}
			if err == nil {
				_, err = r.e.api.ContainerRemove(ctx, c.name, client.ContainerRemoveOptions{Force: true})
			}
			if err != nil {
				return fmt.Errorf("remove container %s: %w", c.name, err)
			}
			r.o.Note("removed container %s", c.name)
			return nil
		})
	}
	return g.Wait()
}

// makeNetworks makes what is missing; one that is there is used.
func (r *restore) makeNetworks(ctx context.Context) error {
	for _, n := range r.plan.networks {
		_, err := r.e.api.NetworkInspect(ctx, n.name, client.NetworkInspectOptions{})
		if err == nil {
			continue
		}
		if !errdefs.IsNotFound(err) {
			return fmt.Errorf("inspect network %s: %w", n.name, err)
		}
		r.o.Note("make network %s", n.name)
		o := client.NetworkCreateOptions{
			Driver: n.saved.Driver, EnableIPv6: &n.saved.EnableIPv6, Internal: n.saved.Internal, Attachable: n.saved.Attachable,
			Options: n.saved.Options, Labels: n.labels, IPAM: n.ipam,
		}
		_, err = r.e.api.NetworkCreate(ctx, n.name, o)
		if err != nil && n.ipam != nil && !r.fixedAddresses(n.name) {
			// Something else has got its range since, and nobody relies on it.
			o.IPAM = nil
			_, err = r.e.api.NetworkCreate(ctx, n.name, o)
		}
		if err != nil {
			return fmt.Errorf("make network %s: %w", n.name, err)
		}
	}
	return nil
}

func (r *restore) fixedAddresses(network string) bool {
	return slices.ContainsFunc(r.plan.containers, func(c plannedContainer) bool {
		e := c.networks[network]
		return e != nil && e.IPAMConfig != nil && (e.IPAMConfig.IPv4Address.IsValid() || e.IPAMConfig.IPv6Address.IsValid())
	})
}

// makeContainers makes all containers, started by nobody yet.
func (r *restore) makeContainers(ctx context.Context) error {
	for _, c := range r.plan.containers {
		r.o.Note("make container %s", c.name)
		if err := r.makeContainer(ctx, c); err != nil {
			return fmt.Errorf("make container %s: %w", c.name, err)
		}
		r.done.Containers = append(r.done.Containers, c.name)
	}
	return nil
}

func (r *restore) makeContainer(ctx context.Context, c plannedContainer) error {
	c.config.Image = r.image[c.saved.Image]
	first := string(c.host.NetworkMode)
	o := client.ContainerCreateOptions{Name: c.name, Config: c.config, HostConfig: c.host}
	// Engines before API 1.44 take one network here, the others afterwards.
	o.NetworkingConfig = endpoint(first, c.networks[first])
	made, err := r.e.api.ContainerCreate(ctx, o)
	if err != nil {
		return err
	}
	r.ids[c.name] = made.ID
	for name, e := range c.networks {
		if name == first || slices.Contains([]string{"bridge", "host", "none"}, name) {
			continue
		}
		if _, err := r.e.api.NetworkConnect(ctx, name, client.NetworkConnectOptions{Container: made.ID, EndpointConfig: e}); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
	}
	return r.plantDump(ctx, c)
}

// errStarted is joined to what goes wrong once containers run.
var errStarted = errors.New("what was made is left as it is; the restore can be run again")
