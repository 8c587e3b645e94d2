package containerbackup

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"
	"github.com/moby/moby/client"
)

// project is what an engine has of one project.
type project struct {
	name       string
	compose    bool // made by Compose; else one container
	containers []*member
	volumes    map[string]*data // by name
	binds      []*data          // sorted by source
	networks   map[string]network.Inspect
	images     map[string]*picture // by id
}

// member is a container of a project.
type member struct {
	service string
	number  int
	inspect container.InspectResponse
	wishes  Wishes
	base    *database // nil: it is none
}

func (m *member) name() string  { return strings.TrimPrefix(m.inspect.Name, "/") }
func (m *member) running() bool { return m.inspect.State != nil && m.inspect.State.Running }

// data is a volume, or what is bound into a container from the host.
type data struct {
	name   string
	source string         // where it is on the engine's host
	volume *volume.Volume // nil: a bind mount
	users  []use
}

// use is a container that has some data.
type use struct {
	member      *member
	destination string
	writes      bool
}

// picture is an image.
type picture struct {
	id     string
	names  []string // that containers of the project call it by
	layers []string // digests of the uncompressed layers, the lowest first
}

// find reads a project from the engine. ErrNoProject names those that are there.
func (e *Engine) find(ctx context.Context, name string) (*project, error) {
	list, err := e.api.ContainerList(ctx, client.ContainerListOptions{All: true})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	p := &project{name: name, volumes: map[string]*data{}, networks: map[string]network.Inspect{}, images: map[string]*picture{}}
	known := map[string]bool{}
	var ids []string
	for _, c := range list.Items {
		of := c.Labels[labelProject]
		if of != "" {
			known[of] = true
		}
		if of == name && !strings.EqualFold(c.Labels[labelOneOff], "true") {
			ids, p.compose = append(ids, c.ID), true
		}
	}
	for _, c := range list.Items { // what was started without Compose goes by its name
		if !p.compose && slices.Contains(c.Names, "/"+name) {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		names := slices.Sorted(maps.Keys(known))
		if len(names) == 0 {
			return nil, fmt.Errorf("%w: %q; the engine has none, and no container of that name", ErrNoProject, name)
		}
		return nil, fmt.Errorf("%w: %q; the engine has %s", ErrNoProject, name, strings.Join(names, ", "))
	}
	for _, id := range ids {
		if err := e.addMember(ctx, p, id); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(p.containers, func(a, b *member) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.number, b.number), cmp.Compare(a.name(), b.name()))
	})
	if err := e.addVolumes(ctx, p); err != nil {
		return nil, err
	}
	if err := e.addNetworks(ctx, p); err != nil {
		return nil, err
	}
	return p, e.addImages(ctx, p)
}

func (e *Engine) addMember(ctx context.Context, p *project, id string) error {
	got, err := e.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("inspect container %.12s: %w", id, err)
	}
	m := &member{inspect: got.Container}
	if m.inspect.Config == nil || m.inspect.HostConfig == nil {
		return fmt.Errorf("the engine does not tell how container %s is configured", m.name())
	}
	labels := m.inspect.Config.Labels
	m.service = cmp.Or(labels[labelService], m.name())
	m.number, _ = strconv.Atoi(labels[labelNumber])
	if m.wishes, err = parseWishes(labels); err != nil {
		return fmt.Errorf("container %s: %w", m.name(), err)
	}
	if m.base, err = e.database(ctx, m); err != nil {
		return err
	}
	p.containers = append(p.containers, m)
	return nil
}

// addVolumes finds the volumes that containers have, and those that Compose made
// for the project and no container has just now.
func (e *Engine) addVolumes(ctx context.Context, p *project) error {
	binds := map[string]*data{}
	for _, m := range p.containers {
		for _, mp := range m.inspect.Mounts {
			u := use{member: m, destination: mp.Destination, writes: mp.RW}
			switch mp.Type {
			case mount.TypeVolume:
				d := p.volumes[mp.Name]
				if d == nil {
					got, err := e.api.VolumeInspect(ctx, mp.Name, client.VolumeInspectOptions{})
					if err != nil {
						return fmt.Errorf("inspect volume %s: %w", mp.Name, err)
					}
					d = &data{name: mp.Name, source: got.Volume.Mountpoint, volume: &got.Volume}
					p.volumes[mp.Name] = d
				}
				d.users = append(d.users, u)
			case mount.TypeBind:
				d := binds[mp.Source]
				if d == nil {
					d = &data{name: mp.Source, source: mp.Source}
					binds[mp.Source] = d
				}
				d.users = append(d.users, u)
			}
		}
	}
	for _, source := range slices.Sorted(maps.Keys(binds)) {
		p.binds = append(p.binds, binds[source])
	}
	if !p.compose {
		return nil
	}
	list, err := e.api.VolumeList(ctx, client.VolumeListOptions{Filters: make(client.Filters).Add("label", labelProject+"="+p.name)})
	if err != nil {
		return fmt.Errorf("list volumes: %w", err)
	}
	for _, v := range list.Items {
		if p.volumes[v.Name] == nil {
			p.volumes[v.Name] = &data{name: v.Name, source: v.Mountpoint, volume: &v}
		}
	}
	return nil
}

// addNetworks finds the networks that are the project's own: the engine's
// bridge, host and none are everywhere.
func (e *Engine) addNetworks(ctx context.Context, p *project) error {
	for _, m := range p.containers {
		if m.inspect.NetworkSettings == nil {
			continue
		}
		for name := range m.inspect.NetworkSettings.Networks {
			if _, known := p.networks[name]; known || slices.Contains([]string{"bridge", "host", "none"}, name) {
				continue
			}
			got, err := e.api.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
			if err != nil {
				return fmt.Errorf("inspect network %s: %w", name, err)
			}
			got.Network.Containers = nil
			p.networks[name] = got.Network
		}
	}
	return nil
}

func (e *Engine) addImages(ctx context.Context, p *project) error {
	for _, m := range p.containers {
		id := m.inspect.Image
		pic := p.images[id]
		if pic == nil {
			got, err := e.api.ImageInspect(ctx, id)
			if err != nil {
				return fmt.Errorf("inspect the image of container %s: %w", m.name(), err)
			}
			pic = &picture{id: id, layers: got.RootFS.Layers}
			p.images[id] = pic
		}
		ref := m.inspect.Config.Image
		// A name that was given to another image since is not this one's.
		if got, err := e.api.ImageInspect(ctx, ref); err == nil && got.ID == id && !strings.HasPrefix(ref, "sha256:") && !slices.Contains(pic.names, ref) {
			pic.names = append(pic.names, ref)
		}
	}
	return nil
}

// dumped tells whether a dump holds data.
func (d *data) dumped() bool {
	return slices.ContainsFunc(d.users, func(u use) bool { return u.member.base != nil && u.member.base.holds(u.destination) })
}

// raw tells whether data is read as files: what a dump holds is not, and not what
// every container that has it wants left out.
func (d *data) raw() bool {
	wanted := len(d.users) == 0
	for _, u := range d.users {
		if !u.member.wishes.Skip && !slices.Contains(u.member.wishes.Exclude, u.destination) {
			wanted = true
		}
	}
	return wanted && !d.dumped()
}

// bound tells whether a bind mount was named to be saved.
func (d *data) bound() bool {
	return slices.ContainsFunc(d.users, func(u use) bool {
		binds := u.member.wishes.Binds
		return !u.member.wishes.Skip && (slices.Contains(binds, "all") || slices.Contains(binds, u.destination))
	})
}

// excluded are the paths below data that are left out, relative to it.
func (d *data) excluded() map[string]bool {
	out := map[string]bool{}
	for _, u := range d.users {
		for _, path := range u.member.wishes.Exclude {
			if rel, ok := strings.CutPrefix(path, strings.TrimSuffix(u.destination, "/")+"/"); ok {
				out[strings.Trim(rel, "/")] = true
			}
		}
	}
	return out
}
