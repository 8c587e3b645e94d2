package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

// helperCommand is what mount(8) calls by another name: see commandLine.
const helperCommand = "mount-helper"

// commandLine is the command line that is meant: mount(8) starts a helper by the
// name of the filesystem's type.
func commandLine(args []string) []string {
	switch filepath.Base(args[0]) {
	case "mount.syncfs", "mount.fuse.syncfs":
		return append([]string{helperCommand}, args[1:]...)
	}
	return args[1:]
}

// helperOptions are what mount(8) hands on.
type helperOptions struct {
	options string
	fake    bool
	sloppy  bool
}

func newMountHelperCommand(e *env) *cobra.Command {
	var o helperOptions
	cmd := &cobra.Command{
		Use:   helperCommand + " NAME DIR",
		Short: "Mount a folder for mount(8) and fstab",
		Long: `Mount a folder for mount(8), which calls it as /sbin/mount.syncfs. DIR is the
folder's own directory, or any empty one, where the folder is mounted read-only
with .versions/. mount.syncfs(8) has the options.`,
		Example: `  mount -t syncfs docs /mnt/docs
  mount -t syncfs -o at=2025-01-31,setuid=ann docs /mnt/then
  syncfs mount-helper docs /mnt/docs`,
		Hidden: true,
		Args:   exactArgs("NAME", "DIR"),
		RunE:   runE(func(ctx context.Context, args []string) error { return runMountHelper(ctx, e, o, args[0], args[1]) }),
	}
	f := cmd.Flags()
	f.StringVarP(&o.options, "options", "o", "", "mount `options`, separated by commas")
	f.BoolVarP(&o.fake, "fake", "f", false, "do all but the mount itself")
	f.BoolVarP(&o.sloppy, "sloppy", "s", false, "ignore unknown options")
	var unused string
	var ignored bool
	f.StringVarP(&unused, "types", "t", "", "type; ignored")
	f.StringVarP(&unused, "namespace", "N", "", "namespace; ignored")
	f.BoolVarP(&ignored, "no-mtab", "n", false, "ignored")
	return cmd
}

// helperSettings are mount options, understood.
type helperSettings struct {
	at         string
	user       string // to act as
	allowOther bool
	env        []string // NAME=VALUE
}

func runMountHelper(ctx context.Context, e *env, o helperOptions, source, dir string) error {
	s, err := parseMountOptions(o.options, o.sloppy)
	if err != nil {
		return err
	}
	if o.fake {
		return nil
	}
	name := strings.TrimPrefix(source, "syncfs:") // as /proc/mounts shows it
	if s.user != "" || e.getenv("HOME") == "" || len(s.env) > 0 {
		return e.helpAs(ctx, s, name, dir)
	}
	if s.allowOther && !mayAllowOther() {
		return hinted(errors.New("this user may not let others into a mount"), "write user_allow_other into /etc/fuse.conf, or leave out the option allow_other")
	}
	path, err := abs(dir)
	if err != nil {
		return err
	}
	name, inPlace, err := e.mountTarget(ctx, name, path)
	if err != nil {
		return err
	}
	if !inPlace {
		return mountReadOnly(ctx, e, mountOptions{atFlag: atFlag{at: s.at}, detach: true}, name, path)
	}
	if s.at != "" {
		return usage("at= needs another directory than the folder's own, which is always as it is now")
	}
	if automounted(path) {
		return hinted(fmt.Errorf("%s is the folder %s itself, and cannot be mounted on demand: what serves it needs the directory first", path, name),
			"leave it out of fstab; `syncfs login enable` mounts it at login")
	}
	return mountByAgent(ctx, e, mountOptions{}, []string{name})
}

// mountTarget finds the folder, and whether path is where it lives on this
// machine. mount(8) makes a path of a source that is a file where it was called:
// a folder is also known by its path, and by the last part of one.
func (e *env) mountTarget(ctx context.Context, source, path string) (name string, inPlace bool, err error) {
	err = e.withReader(ctx, func(r *agent.Reader) error {
		list, err := r.Folders(ctx)
		if err != nil {
			return err
		}
		for _, f := range list {
			if f.Path == source && filepath.IsAbs(source) {
				name, inPlace = f.Name, f.Path == path
				return nil
			}
		}
		f, err := folderByName(list, filepath.Base(source))
		name, inPlace = f.Name, f.Path == path
		return err
	})
	return name, inPlace, err
}

// ignoredOptions mean something to mount(8), to systemd or to the kernel only.
func ignoredOptions() []string {
	return []string{
		"", "defaults", "rw", "ro", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev",
		"dev", "nodev", "suid", "nosuid", "exec", "noexec", "async", "sync", "atime", "noatime", "relatime", "norelatime",
		"diratime", "nodiratime", "strictatime", "lazytime", "nolazytime", "default_permissions", "silent", "loud",
	}
}

// parseMountOptions reads what follows -o. The names are those of rclone and of
// mount.fuse3; a_b and a-b are one name.
func parseMountOptions(text string, sloppy bool) (s helperSettings, err error) {
	for _, option := range splitOptions(text) {
		name, value, _ := strings.Cut(option, "=")
		if variable, ok := strings.CutPrefix(name, "env."); ok && variable != "" {
			s.env = append(s.env, variable+"="+value)
			continue
		}
		switch name := strings.ReplaceAll(name, "_", "-"); name {
		case "at":
			s.at = value
		case "setuid":
			s.user = value
		case "allow-other":
			s.allowOther = true
		case "config":
			if filepath.Base(value) != "config.toml" || filepath.Base(filepath.Dir(value)) != "syncfs" || !filepath.IsAbs(value) {
				return s, usage("config=%s: it must be an absolute path that ends in syncfs/config.toml", value)
			}
			s.env = append(s.env, "XDG_CONFIG_HOME="+filepath.Dir(filepath.Dir(value)))
		case "cache-dir":
			if filepath.Base(value) != "syncfs" || !filepath.IsAbs(value) {
				return s, usage("cache-dir=%s: it must be an absolute path that ends in /syncfs", value)
			}
			s.env = append(s.env, "XDG_CACHE_HOME="+filepath.Dir(value))
		case "remount":
			return s, errors.New("a folder cannot be mounted again in place: unmount it first")
		default:
			if slices.Contains(ignoredOptions(), option) || strings.HasPrefix(option, "x-") || strings.HasPrefix(option, "comment=") || sloppy {
				continue
			}
			return s, hinted(fmt.Errorf("there is no mount option %q", option), "mount.syncfs(8) lists the options")
		}
	}
	return s, nil
}

// splitOptions cuts at commas that are not between double quotes.
func splitOptions(text string) []string {
	var list []string
	var word strings.Builder
	quoted := false
	for _, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ',' && !quoted:
			list = append(list, word.String())
			word.Reset()
		default:
			word.WriteRune(r)
		}
	}
	return append(list, word.String())
}
