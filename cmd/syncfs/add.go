package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
)

type addOptions struct {
	name         string
	noMount      bool
	versionsName string
	show         string
}

func newAddCommand(e *env) *cobra.Command {
	var o addOptions
	cmd := &cobra.Command{
		Use:   "add DIR",
		Short: "Make a directory a folder: mounted, versioned, synchronised",
		Long: `Make a directory a folder. It is mounted over itself: the files stay where they
are, as plain files, and when syncfs stops the directory is simply there.
Nothing that a program wrote and closed is lost until the folder's retention
removes it: by default all versions of a day, one an hour for a week, one a day
for a month, one a week for a year, and one a month for ever.`,
		Example: `  syncfs add ~/Documents
  syncfs add ~/Documents --name docs
  syncfs add /srv/data --no-mount      # watched as a plain directory`,
		Args: exactArgs("DIR"),
		RunE: runE(func(ctx context.Context, args []string) error { return runAdd(ctx, e, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "`name` of the folder (the directory's name)")
	f.BoolVar(&o.noMount, "no-mount", false, "do not mount it: watch it as a plain directory")
	f.StringVar(&o.versionsName, "versions-name", "", "call its .versions by another `name`")
	f.StringVar(&o.show, "show", "", "list .versions in the `root` only, in none, or in all directories (it answers by name in every one)")
	e.addJSON(cmd)
	return cmd
}

func runAdd(ctx context.Context, e *env, o addOptions, dir string) error {
	path, err := abs(dir)
	if err != nil {
		return err
	}
	show, err := e.show(o.show)
	if err != nil {
		return err
	}
	return e.withStartedAgent(ctx, func(c *agent.Client) error {
		bar := e.newProgress()
		status, err := c.Add(ctx, agent.AddRequest{
			Path: path, Name: o.name, NoMount: o.noMount, VersionsName: o.versionsName, Show: show,
		}, bar.update)
		bar.done()
		if errors.Is(err, fs.ErrNotExist) {
			return hinted(fmt.Errorf("%s does not exist", path), "`mkdir %s` makes it", path)
		}
		if err != nil {
			return err
		}
		return e.showAdded(status)
	})
}

// show is where .versions is listed: the flag, or else what the user set.
func (e *env) show(flag string) (string, error) {
	if flag == "" {
		dirs, err := e.dirs()
		if err != nil {
			return "", err
		}
		c, err := e.settings(dirs)
		return string(c.Mount.Versions), err
	}
	var l config.Listing
	if err := l.UnmarshalText([]byte(flag)); err != nil {
		return "", usage("--show: %w", err)
	}
	return flag, nil
}

// showAdded tells of a folder that has come to this machine.
func (e *env) showAdded(s agent.FolderStatus) error {
	if e.json {
		return e.document(s)
	}
	name := s.VersionsName
	if name == "" {
		name = ".versions"
	}
	if s.Mounted {
		e.say("%s is mounted at %s", s.Name, s.Path)
		if s.OnDemand {
			e.say("content comes when it is read, and lies in %s", s.Content)
		}
		e.say("its earlier states are in %s/%s; how long they are kept: syncfs retention show %s", s.Path, name, s.Name)
	} else {
		e.say("%s is watched at %s; how long versions are kept: syncfs retention show %s", s.Name, s.Path, s.Name)
	}
	for _, p := range s.Problems {
		e.note("%s", problemText(p))
	}
	if s.State == agent.StateProblem || s.State == agent.StateStopped {
		return coded(exitPartial, fmt.Errorf("%s is a folder now, but not all is well: see `syncfs status`", s.Name))
	}
	return nil
}

func problemText(p agent.Problem) string {
	if p.Path == "" {
		return p.Text
	}
	return clean(p.Path) + ": " + clean(p.Text)
}
