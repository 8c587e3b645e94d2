package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
)

func newContainerShowCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show PROJECT[@TIME]",
		Short: "Show what a backup of a project holds",
		Long: `Show what a backup of a project holds: databases, volumes, images, containers,
when each part was taken and what was paused for it. --json prints
container_info.json as it was saved.

` + containerHelp,
		Example: `  syncfs container show moodle
  syncfs container show moodle@20250131_201530 --json`,
		Args: exactArgs("PROJECT"),
		RunE: runE(func(ctx context.Context, args []string) error { return runContainerShow(ctx, e, args[0]) }),
	}
	e.addJSON(cmd)
	return cmd
}

func runContainerShow(ctx context.Context, e *env, arg string) error {
	return e.withReader(ctx, func(r *agent.Reader) error {
		b, err := e.findBackup(ctx, r, arg)
		if err != nil {
			return err
		}
		if e.json {
			return e.document(b.info)
		}
		return e.printBackup(b)
	})
}

func (e *env) printBackup(b savedBackup) error {
	i := b.info
	t := e.newTable()
	t.row("Backup:", b.spelled())
	if i.Name != "" {
		t.row("Name:", i.Name)
	}
	t.row("Taken:", i.Time.In(e.loc).Format("2006-01-02 15:04:05")+" on "+i.Host)
	t.row("Type:", i.Type)
	t.row("Engine:", i.Engine)
	t.row("Size:", fmt.Sprintf("%s in %s", size(b.snapshot.Root.Size), count(b.snapshot.Root.Count, "file", "files")))
	t.row("Apart:", fmt.Sprintf("%.1f s from the first dump to the pause", i.Skew))
	for _, d := range i.Databases {
		for _, one := range d.Dumps {
			t.row("Dump:", fmt.Sprintf("%s  %s, %.1f s, %s %s", one.File, size(one.Bytes), one.Ended.Sub(one.Started).Seconds(), d.Kind, d.Version))
		}
	}
	for _, v := range i.Volumes {
		if v.Path == "" {
			t.row("Volume:", v.Name+"  not read: a dump has it, or a label leaves it out")
			continue
		}
		t.row("Volume:", fmt.Sprintf("%s  %s in %s", v.Path, size(v.Bytes), count(v.Files, "file", "files")))
	}
	for _, v := range i.Binds {
		if v.Path == "" {
			t.row("Bind:", v.Source+"  not saved: no label names it")
			continue
		}
		t.row("Bind:", fmt.Sprintf("%s  %s, %s in %s", v.Path, v.Source, size(v.Bytes), count(v.Files, "file", "files")))
	}
	for _, img := range i.Images {
		text := strings.Join(img.Names, " ") + "  " + img.ID
		if img.Config == "" {
			text += "  not saved"
		}
		t.row("Image:", strings.TrimSpace(text))
	}
	for _, c := range i.Containers {
		state := "stopped"
		if c.Running {
			state = "running"
		}
		t.row("Container:", c.Name+"  "+state+held(i, c.Name))
	}
	for _, w := range i.Warnings {
		t.row("Warning:", w)
	}
	return t.flush()
}

// held says how a container was kept from writing.
func held(i *containerbackup.Info, name string) string {
	for _, h := range i.Held {
		if h.Container == name {
			return fmt.Sprintf(", held (%s) for %.1f s", h.How, h.Until.Sub(h.From).Seconds())
		}
	}
	return ""
}
