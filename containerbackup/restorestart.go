package containerbackup

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

type mountPoint = container.MountPoint

// startAll starts what ran, in the order of its dependencies. A database with
// dumps is filled before anything that could use it starts.
func (r *restore) startAll(ctx context.Context) error {
	err := r.startInOrder(ctx)
	if err == nil {
		err = r.health(ctx)
	}
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w\n%w", err, errStarted)
	}
	return err
}

func (r *restore) startInOrder(ctx context.Context) error {
	for _, c := range r.plan.containers {
		if c.base == nil {
			continue
		}
		if err := r.start(ctx, c); err != nil {
			return err
		}
		if err := r.importAll(ctx, c); err != nil {
			return err
		}
	}
	for _, c := range r.plan.containers {
		if !c.saved.Running || c.base != nil {
			continue
		}
		for _, d := range c.after {
			if err := r.await(ctx, d); err != nil {
				return fmt.Errorf("container %s: %w", c.name, err)
			}
		}
		if err := r.start(ctx, c); err != nil {
			return err
		}
	}
	return r.ports(ctx)
}

func (r *restore) start(ctx context.Context, c plannedContainer) error {
	r.o.Note("start %s", c.name)
	if _, err := r.e.api.ContainerStart(ctx, r.ids[c.name], client.ContainerStartOptions{}); err != nil {
		return fmt.Errorf("start container %s: %w", c.name, err)
	}
	r.done.Started = append(r.done.Started, c.name)
	return nil
}

// importAll waits until a database answers and reads its dumps back.
func (r *restore) importAll(ctx context.Context, c plannedContainer) error {
	d, ok := dialects()[c.base.Kind]
	if !ok {
		return fmt.Errorf("%w: databases of kind %q", ErrNewer, c.base.Kind)
	}
	wishes, err := parseWishes(c.config.Labels)
	if err != nil {
		return err
	}
	err = r.until(ctx, c.name+" answers", func() (bool, error) {
		if err := r.alive(ctx, c.name); err != nil {
			return false, err
		}
		_, err := r.e.exec(ctx, r.ids[c.name], command{args: d.script(d.ready), user: wishes.User})
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	for _, dump := range c.base.Dumps {
		if err := r.importOne(ctx, c, d, dump, wishes.User); err != nil {
			return fmt.Errorf("import %s into %s: %w", dump.File, c.name, err)
		}
	}
	r.done.Databases = append(r.done.Databases, c.name)
	return nil
}

func (r *restore) importOne(ctx context.Context, c plannedContainer, d dialect, dump SavedDump, user string) error {
	load := d.load
	for _, s := range d.dumps {
		if s.load != "" && !s.each && strings.HasSuffix(dump.File, "/"+s.file) {
			load = s.load
		}
	}
	if load == "" {
		return nil // read at its start
	}
	r.o.Note("import %s", dump.File)
	e, err := r.o.Trees.Resolve(ctx, r.o.Root, dump.File)
	if err != nil {
		return err
	}
	in, err := openStored(ctx, r.o.Contents, e)
	if err != nil {
		return err
	}
	defer in.Close()
	stderr, err := r.e.exec(ctx, r.ids[c.name], command{args: d.script(load), user: user, stdin: in.SectionReader})
	if err != nil {
		return err
	}
	return complaint(stderr)
}

// What the first start of a server makes by itself is in a dump as well.
var existsAlready = regexp.MustCompile(`ERROR:.*already exists`)

// complaint finds errors that a client has gone on after.
func complaint(stderr string) error {
	for line := range strings.Lines(stderr) {
		if strings.Contains(line, "ERROR:") && !existsAlready.MatchString(line) {
			return errors.New(strings.TrimSpace(line))
		}
	}
	return nil
}

// until tries ready once and again, for as long as the restore may wait.
func (r *restore) until(ctx context.Context, what string, ready func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.o.Wait, fmt.Errorf("%w: waited %s until %s", ErrUnhealthy, r.o.Wait, what))
	defer cancel()
	for {
		ok, err := ready()
		if ok {
			return nil
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err := sleep(ctx, 300*time.Millisecond); err != nil {
			return context.Cause(ctx)
		}
	}
}

// alive looks that a container that was started runs; what it said last tells why
// it does not.
func (r *restore) alive(ctx context.Context, name string) error {
	got, err := r.e.api.ContainerInspect(ctx, r.ids[name], client.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	if st := got.Container.State; st != nil && !st.Running && !st.Restarting {
		return fmt.Errorf("%w: %s has ended with exit code %d%s", ErrUnhealthy, name, st.ExitCode, r.lastWords(ctx, name))
	}
	return nil
}

// lastWords are the last lines of a container's log.
func (r *restore) lastWords(ctx context.Context, name string) string {
	out, err := r.e.api.ContainerLogs(ctx, r.ids[name], client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "5"})
	if err != nil {
		return ""
	}
	defer out.Close()
	words := &tail{max: 1 << 10}
	if _, err := stdcopy.StdCopy(words, words, out); err != nil || words.String() == "" {
		return ""
	}
	return "; it said: " + strings.TrimSpace(words.String())
}

// await waits for what a container depends on.
func (r *restore) await(ctx context.Context, d dependency) error {
	for _, c := range r.plan.containers {
		if c.saved.Service != d.service || !slices.Contains(r.done.Started, c.name) {
			continue
		}
		switch d.condition {
		case "service_healthy":
			if err := r.healthy(ctx, c.name); err != nil {
				return err
			}
		case "service_completed_successfully":
			err := r.until(ctx, c.name+" has done its work", func() (bool, error) {
				got, err := r.e.api.ContainerInspect(ctx, r.ids[c.name], client.ContainerInspectOptions{})
				if err != nil || got.Container.State.Running {
					return false, err
				}
				if code := got.Container.State.ExitCode; code != 0 {
					return false, fmt.Errorf("%w: %s has ended with exit code %d%s", ErrUnhealthy, c.name, code, r.lastWords(ctx, c.name))
				}
				return true, nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// healthy waits until a container's own check is content; one without a check is
// when it runs.
func (r *restore) healthy(ctx context.Context, name string) error {
	return r.until(ctx, name+" is healthy", func() (bool, error) {
		got, err := r.e.api.ContainerInspect(ctx, r.ids[name], client.ContainerInspectOptions{})
		if err != nil {
			return false, err
		}
		st := got.Container.State
		if st == nil || !st.Running {
			return false, r.alive(ctx, name)
		}
		return st.Health == nil || st.Health.Status == container.NoHealthcheck || st.Health.Status == container.Healthy, nil
	})
}

// health waits for all health checks.
func (r *restore) health(ctx context.Context) error {
	for _, c := range r.plan.containers {
		if !slices.Contains(r.done.Started, c.name) || !c.saved.Running {
			continue
		}
		if slices.ContainsFunc(r.plan.containers, func(o plannedContainer) bool {
			return slices.Contains(o.after, dependency{c.saved.Service, "service_completed_successfully"})
		}) {
			continue
		}
		if err := r.healthy(ctx, c.name); err != nil {
			return err
		}
	}
	return nil
}

// ports notes what is published where, as far as that is not what it was.
func (r *restore) ports(ctx context.Context) error {
	for _, name := range r.done.Started {
		got, err := r.e.api.ContainerInspect(ctx, r.ids[name], client.ContainerInspectOptions{})
		if err != nil {
			return err
		}
		if got.Container.NetworkSettings == nil {
			continue
		}
		for port, list := range got.Container.NetworkSettings.Ports {
			for _, b := range list {
				r.done.Ports = append(r.done.Ports, fmt.Sprintf("%s %s -> %s:%s", name, port, b.HostIP, b.HostPort))
			}
		}
	}
	slices.Sort(r.done.Ports)
	return nil
}
