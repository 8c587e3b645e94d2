package containerbackup

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// planned is a project as it is to be made: what a backup says, under the names
// that it is to have.
type planned struct {
	project    string
	containers []plannedContainer // in the order in which they start
	volumes    []plannedVolume
	networks   []plannedNetwork
	binds      []plannedBind
	notes      []string
}

type plannedContainer struct {
	saved    SavedContainer
	name     string
	config   *container.Config
	host     *container.HostConfig
	networks map[string]*network.EndpointSettings // by their new names
	base     *SavedDatabase
	after    []dependency
}

// dependency is what a container waits for before it starts.
type dependency struct {
	service   string
	condition string // "service_started", "service_healthy", "service_completed_successfully"
}

type plannedVolume struct {
	saved  SavedVolume
	name   string
	labels map[string]string
	path   string // of what it is filled with, in the snapshot; "": nothing
}

type plannedNetwork struct {
	saved  network.Network
	name   string
	labels map[string]string
	ipam   *network.IPAM
}

// plannedBind is what is written back to where it was bound from.
type plannedBind struct{ source, path string }

// renamer gives what belongs to a project the names of another one, or the same.
type renamer struct {
	info   *Info
	to     string
	other  bool              // it is another one: the original is left alone
	drill  string            // what is made gets this label, and publishes no port; "": none
	binds  map[string]string // source: the volume that takes its place
	plan   *planned
	wanted map[string]bool // services; empty: all
}

// labelDrill marks what a drill has made.
const labelDrill = "syncfs.drill"

// rename is a name with the project's, which it begins with where it can.
func (r *renamer) rename(name string) string {
	if !r.other {
		return name
	}
	for _, sep := range []string{"-", "_"} {
		if rest, ok := strings.CutPrefix(name, r.info.Project+sep); ok {
			return r.to + sep + rest
		}
	}
	if name == r.info.Project {
		return r.to
	}
	return r.to + "-" + name
}

func (r *renamer) labels(labels map[string]string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	if _, ok := out[labelProject]; ok {
		out[labelProject] = r.to
	}
	if r.drill != "" {
		out[labelDrill] = r.drill
	}
	return out
}

// makePlan says what is to be made. ErrCannotName names what cannot be renamed.
func makePlan(info *Info, as, drill string, only []string) (*planned, error) {
	r := &renamer{info: info, to: info.Project, drill: drill, binds: map[string]string{}, wanted: map[string]bool{}}
	if as != "" && as != info.Project {
		r.to, r.other = as, true
	}
	r.plan = &planned{project: r.to}
	for _, service := range only {
		if !slices.ContainsFunc(info.Containers, func(c SavedContainer) bool { return c.Service == service }) {
			return nil, fmt.Errorf("the backup has no service %q; it has %s", service, strings.Join(services(info), ", "))
		}
		r.wanted[service] = true
	}
	if err := r.planBinds(); err != nil {
		return nil, err
	}
	for _, c := range info.Containers {
		if !r.wants(c) {
			continue
		}
		one, err := r.container(c)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", c.Name, err)
		}
		r.plan.containers = append(r.plan.containers, one)
	}
	r.planVolumes()
	r.planNetworks()
	r.plan.sort()
	return r.plan, nil
}

func services(info *Info) []string {
	var list []string
	for _, c := range info.Containers {
		list = append(list, c.Service)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (r *renamer) wants(c SavedContainer) bool { return len(r.wanted) == 0 || r.wanted[c.Service] }

// uses tells whether a wanted container has such a thing mounted.
func (r *renamer) uses(fn func(container.MountPoint) bool) bool {
	return slices.ContainsFunc(r.info.Containers, func(c SavedContainer) bool { return r.wants(c) && slices.ContainsFunc(c.Mounts, fn) })
}

func (r *renamer) planVolumes() {
	for _, v := range r.info.Volumes {
		used := r.uses(func(m container.MountPoint) bool { return m.Type == mount.TypeVolume && m.Name == v.Name })
		if !used && len(r.wanted) > 0 {
			continue
		}
		r.plan.volumes = append(r.plan.volumes, plannedVolume{saved: v, name: r.volume(v.Name), labels: r.labels(v.Labels), path: v.Path})
	}
}

// volume is the new name of a volume; what has only a number keeps that.
func (r *renamer) volume(name string) string { return r.rename(name) }

func (r *renamer) planNetworks() {
	for _, n := range r.info.Networks {
		used := slices.ContainsFunc(r.info.Containers, func(c SavedContainer) bool { return r.wants(c) && c.Networks[n.Name] != nil })
		if !used {
			continue
		}
		one := plannedNetwork{saved: n, name: r.rename(n.Name), labels: r.labels(n.Labels)}
		if !r.other && len(n.IPAM.Config) > 0 {
			one.ipam = &n.IPAM
		}
		r.plan.networks = append(r.plan.networks, one)
	}
}

// planBinds says what becomes of what is bound from the host: it is written back,
// or, for another project, becomes a volume of its own.
func (r *renamer) planBinds() error {
	for i, b := range r.info.Binds {
		writes, used := false, false
		for _, c := range r.info.Containers {
			for _, m := range c.Mounts {
				if r.wants(c) && m.Type == mount.TypeBind && m.Source == b.Source {
					used, writes = true, writes || m.RW
				}
			}
		}
		switch {
		case !used:
		case !r.other && b.Path != "":
			r.plan.binds = append(r.plan.binds, plannedBind{source: b.Source, path: b.Path})
		case !r.other:
			r.plan.notes = append(r.plan.notes, b.Source+" is bound into a container and not in the backup: it is taken as it is")
		case !writes:
			r.plan.notes = append(r.plan.notes, b.Source+" is only read: both projects share it")
		case b.Path == "":
			return fmt.Errorf("%w: %s is bound into a container that writes to it, and is not in the backup (label %s.binds)", ErrCannotName, b.Source, prefixShort)
		default:
			name := fmt.Sprintf("%s_bind%d", r.to, i+1)
			r.binds[b.Source] = name
			r.plan.volumes = append(r.plan.volumes, plannedVolume{
				saved: SavedVolume{Driver: "local"}, name: name, labels: r.labels(map[string]string{labelProject: ""}), path: b.Path,
			})
			r.plan.notes = append(r.plan.notes, b.Source+" is copied into the volume "+name)
		}
	}
	return nil
}

// container is a container under its new name, with all that it refers to.
func (r *renamer) container(c SavedContainer) (plannedContainer, error) {
	config, host := *c.Config, *c.HostConfig
	p := plannedContainer{saved: c, name: r.rename(c.Name), config: &config, host: &host, networks: map[string]*network.EndpointSettings{}}
	config.Labels = r.labels(config.Labels)
	short := c.ID[:min(12, len(c.ID))]
	if config.Hostname == short {
		config.Hostname = "" // the engine made it of the id
	}
	if host.NetworkMode.IsHost() && r.other {
		return p, fmt.Errorf("%w: it has the host's own network", ErrCannotName)
	}
	for _, of := range []*string{(*string)(&host.NetworkMode), (*string)(&host.IpcMode), (*string)(&host.PidMode)} {
		*of = r.joined(*of)
	}
	if name := host.NetworkMode.NetworkName(); r.isNetwork(name) {
		host.NetworkMode = container.NetworkMode(r.rename(name))
	}
	host.Links = nil // Compose has aliases instead; the engine's own are of the default bridge
	host.VolumesFrom = slices.Clone(host.VolumesFrom)
	for i, from := range host.VolumesFrom {
		name, mode, _ := strings.Cut(from, ":")
		host.VolumesFrom[i] = strings.TrimSuffix(r.containerCalled(name)+":"+mode, ":")
	}
	r.mounts(c, &host)
	if r.other {
		host.PortBindings = maps.Clone(host.PortBindings)
		for port, list := range host.PortBindings {
			list = slices.Clone(list)
			for i := range list {
				list[i].HostPort = "" // the engine finds a free one
			}
			host.PortBindings[port] = list
		}
	}
	if r.drill != "" {
		host.PortBindings, host.PublishAllPorts = nil, false
		host.RestartPolicy = container.RestartPolicy{}
	}
	for name, e := range c.Networks {
		one := &network.EndpointSettings{DriverOpts: e.DriverOpts}
		if !r.other {
			one.IPAMConfig = e.IPAMConfig
		}
		for _, alias := range e.Aliases {
			if alias != short {
				one.Aliases = append(one.Aliases, alias)
			}
		}
		if r.isNetwork(name) {
			name = r.rename(name)
		} else {
			one.Aliases = nil // the engine's own networks take none
		}
		p.networks[name] = one
	}
	for i, d := range r.info.Databases {
		if d.Container == c.Name {
			p.base = &r.info.Databases[i]
		}
	}
	p.after = parseDepends(c.Config.Labels[labelDepends])
	return p, nil
}

func (r *renamer) isNetwork(name string) bool {
	return slices.ContainsFunc(r.info.Networks, func(n network.Network) bool { return n.Name == name })
}

// joined is a mode such as container:ID under the new name.
func (r *renamer) joined(mode string) string {
	id, ok := strings.CutPrefix(mode, "container:")
	if !ok {
		return mode
	}
	return "container:" + r.containerCalled(id)
}

// containerCalled is the new name of a container that is meant by name or id.
func (r *renamer) containerCalled(ref string) string {
	for _, c := range r.info.Containers {
		if c.ID == ref || c.Name == strings.TrimPrefix(ref, "/") {
			return r.rename(c.Name)
		}
	}
	return ref
}

// mounts names volumes and binds anew, and gives volumes without a name theirs.
func (r *renamer) mounts(c SavedContainer, host *container.HostConfig) {
	host.Binds, host.Mounts = slices.Clone(host.Binds), slices.Clone(host.Mounts)
	named := map[string]bool{}
	for i, bind := range host.Binds {
		source, rest, _ := strings.Cut(bind, ":")
		destination, _, _ := strings.Cut(rest, ":")
		named[path.Clean(destination)] = true
		if volume, ok := r.binds[source]; ok {
			source = volume
		} else if !strings.HasPrefix(source, "/") {
			source = r.volume(source)
		}
		host.Binds[i] = source + ":" + rest
	}
	for i := range host.Mounts {
		m := &host.Mounts[i]
		named[path.Clean(m.Target)] = true
		if volume, ok := r.binds[m.Source]; ok {
			m.Type, m.Source, m.BindOptions = mount.TypeVolume, volume, nil
		} else if m.Type == mount.TypeVolume && m.Source != "" {
			m.Source = r.volume(m.Source)
		}
	}
	for _, m := range c.Mounts {
		if m.Type == mount.TypeVolume && !named[path.Clean(m.Destination)] && len(host.VolumesFrom) == 0 {
			bind := r.volume(m.Name) + ":" + m.Destination
			if !m.RW {
				bind += ":ro"
			}
			host.Binds = append(host.Binds, bind)
		}
	}
}

// parseDepends reads what Compose notes: "db:service_healthy:false,cache:…".
func parseDepends(label string) []dependency {
	var list []dependency
	for part := range strings.SplitSeq(label, ",") {
		words := strings.Split(part, ":")
		if words[0] == "" {
			continue
		}
		d := dependency{service: words[0], condition: "service_started"}
		if len(words) > 1 && words[1] != "" {
			d.condition = words[1]
		}
		list = append(list, d)
	}
	return list
}

// sort puts containers behind those that they wait for. A circle, which Compose
// refuses, is left as it is.
func (p *planned) sort() {
	var out []plannedContainer
	state := map[string]int{} // 1: being visited, 2: placed
	var visit func(c plannedContainer)
	visit = func(c plannedContainer) {
		if state[c.name] > 0 {
			return
		}
		state[c.name] = 1
		for _, d := range c.after {
			for _, other := range p.containers {
				if other.saved.Service == d.service {
					visit(other)
				}
			}
		}
		state[c.name] = 2
		out = append(out, c)
	}
	for _, c := range p.containers {
		visit(c)
	}
	p.containers = out
}
