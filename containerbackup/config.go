package containerbackup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// maxConfigFile bounds what is taken for a configuration.
const maxConfigFile = 16 << 20

// saveConfig saves what describes the project: its containers and networks, the
// files that Compose was given, the environment.
func (b *backup) saveConfig(ctx context.Context) error {
	version, err := b.e.api.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return fmt.Errorf("ask the engine for its version: %w", err)
	}
	name := "Docker"
	if version.Platform.Name != "" {
		name = version.Platform.Name
	}
	b.info.Engine = fmt.Sprintf("%s %s (API %s)", name, version.Version, version.APIVersion)
	for _, name := range slices.Sorted(maps.Keys(b.project.networks)) {
		b.info.Networks = append(b.info.Networks, b.project.networks[name].Network)
	}
	for _, m := range b.project.containers {
		c := SavedContainer{
			Name: m.name(), Service: m.service, ID: m.inspect.ID, Image: m.inspect.Image, Running: m.running(),
			Config: m.inspect.Config, HostConfig: m.inspect.HostConfig, Mounts: m.inspect.Mounts,
		}
		if m.inspect.NetworkSettings != nil {
			c.Networks = m.inspect.NetworkSettings.Networks
		}
		b.info.Containers = append(b.info.Containers, c)
		env := strings.Join(m.inspect.Config.Env, "\n") + "\n"
		if err := b.tree.writeBytes(ctx, "config/"+m.name()+".env", []byte(env)); err != nil {
			return err
		}
	}
	if err := b.saveComposeFiles(ctx); err != nil {
		return err
	}
	return b.tree.writeBytes(ctx, envName, b.environment())
}

// saveComposeFiles saves the files that Compose was given, as far as they are on
// this machine.
func (b *backup) saveComposeFiles(ctx context.Context) error {
	labels := b.project.containers[0].inspect.Config.Labels
	files := split(labels[labelFiles])
	if !b.e.local() || len(files) == 0 {
		return nil
	}
	for i, file := range files {
		at := composeName
		if i > 0 {
			at = fmt.Sprintf("config/compose.%d.%s", i+1, filepath.Base(file))
		}
		if err := b.saveConfigFile(ctx, file, at); err != nil {
			return err
		}
	}
	env := split(labels[labelEnvFiles])
	if dir := labels[labelWorkDir]; len(env) == 0 && dir != "" {
		env = []string{filepath.Join(dir, ".env")}
		if _, err := os.Lstat(env[0]); errors.Is(err, fs.ErrNotExist) {
			env = nil
		}
	}
	for i, file := range env {
		at := "config/compose.env"
		if i > 0 {
			at = fmt.Sprintf("config/compose.%d.env", i+1)
		}
		if err := b.saveConfigFile(ctx, file, at); err != nil {
			return err
		}
	}
	return nil
}

// saveConfigFile saves one; that it has gone since is no reason to save nothing.
func (b *backup) saveConfigFile(ctx context.Context, file, at string) error {
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxConfigFile) {
		err = errors.New("it is no configuration file")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		b.warn("%s is not saved: %v", file, err)
		return nil
	}
	return b.tree.writeBytes(ctx, at, data)
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(s string) bool { return s == "" })
}

// environment is what was there, for people.
func (b *backup) environment() []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, "Project:  %s (%s)\nHost:     %s\nEngine:   %s\nTaken at: %s\n", b.project.name, b.info.Type, b.info.Host, b.info.Engine, b.o.Now().UTC().Format(time.RFC3339))
	fmt.Fprintf(&w, "\nContainers:\n")
	for _, m := range b.project.containers {
		state := "unknown"
		if m.inspect.State != nil {
			state = string(m.inspect.State.Status)
			if m.inspect.State.Health != nil {
				state += ", " + string(m.inspect.State.Health.Status)
			}
		}
		kind := ""
		if m.base != nil {
			kind = fmt.Sprintf("  %s %s", m.base.kind, m.base.version)
		}
		fmt.Fprintf(&w, "  %s  %s  %s%s\n", m.name(), cmp.Or(m.inspect.Config.Image, m.inspect.Image), state, kind)
		for port, to := range m.inspect.HostConfig.PortBindings {
			for _, one := range to {
				fmt.Fprintf(&w, "    port %s -> %s:%s\n", port, one.HostIP, one.HostPort)
			}
		}
		for _, mp := range m.inspect.Mounts {
			fmt.Fprintf(&w, "    %s %s at %s\n", mp.Type, cmp.Or(mp.Name, mp.Source), mp.Destination)
		}
	}
	fmt.Fprintf(&w, "\nImages:\n")
	for _, id := range slices.Sorted(maps.Keys(b.project.images)) {
		fmt.Fprintf(&w, "  %s  %s\n", id, strings.Join(b.project.images[id].names, " "))
	}
	return w.Bytes()
}
