package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newPinCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pin PATH",
		Short: "Bring a file or directory of an on-demand folder, and keep it here",
		Long: `Bring the content of a file, or of everything in a directory, of an on-demand
folder to this disk and keep it here: it is never evicted, and what other
machines change in it comes with its content. ` + "`syncfs unpin`" + ` lets it go again.`,
		Example: `  syncfs pin ~/Documents/taxes
  syncfs pin ~/Documents/report.docx`,
		Args: exactArgs("PATH"),
		RunE: runE(func(ctx context.Context, args []string) error { return runPin(ctx, e, args[0], true) }),
	}
	e.addJSON(cmd)
	return cmd
}

func newUnpinCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "unpin PATH",
		Short: "Let what was pinned be evicted again",
		Long: `Let a file or directory of an on-demand folder that was pinned be evicted again,
when there is too much on this disk. Its content stays here until then;
` + "`syncfs evict`" + ` takes it away at once.`,
		Example: `  syncfs unpin ~/Documents/taxes`,
		Args:    exactArgs("PATH"),
		RunE:    runE(func(ctx context.Context, args []string) error { return runPin(ctx, e, args[0], false) }),
	}
}

func runPin(ctx context.Context, e *env, arg string, pin bool) error {
	path, err := realAbs(arg)
	if err != nil {
		return err
	}
	return e.withStartedAgent(ctx, func(c *agent.Client) error {
		var last agent.Progress
		bar := e.newProgress()
		err := c.Pin(ctx, agent.PinRequest{Path: path, Pin: pin}, func(p agent.Progress) { last = p; bar.update(p) })
		bar.done()
		switch {
		case err != nil:
			return hinted(err, "what has come is here; `syncfs pin` goes on where it stopped")
		case e.json:
			return e.document(pinResult{Path: path, Pinned: pin, Files: last.Files, Bytes: last.Bytes})
		case pin:
			e.say("%s is pinned: everything in it is on this disk, and stays", clean(arg))
		default:
			e.say("%s is not pinned any more", clean(arg))
		}
		return nil
	})
}

type pinResult struct {
	Path   string `json:"path"`
	Pinned bool   `json:"pinned"`
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
}

func newEvictCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "evict PATH",
		Short: "Free the disk of the content of a file or directory of an on-demand folder",
		Long: `Take the content of a file, or of everything in a directory, of an on-demand
folder off this disk. The files stay visible, and their content comes again when
they are read. What is pinned, in use, or not on the remote yet stays, and is
named; the exit code is 3 then.`,
		Example: `  syncfs evict ~/Documents/videos`,
		Args:    exactArgs("PATH"),
		RunE:    runE(func(ctx context.Context, args []string) error { return runEvict(ctx, e, args[0]) }),
	}
	e.addJSON(cmd)
	return cmd
}

func runEvict(ctx context.Context, e *env, arg string) error {
	path, err := realAbs(arg)
	if err != nil {
		return err
	}
	return e.withAgent(func(c *agent.Client) error {
		r, err := c.Evict(ctx, agent.EvictRequest{Path: path})
		if err != nil {
			return err
		}
		if e.json {
			if err := e.document(r); err != nil {
				return err
			}
		} else {
			e.say("%d files evicted, %s freed", r.Files, size(r.Bytes))
			for _, why := range r.Why {
				e.note("stays here: %s", clean(why))
			}
		}
		if r.Stay > 0 {
			return coded(exitPartial, fmt.Errorf("%d files or pinned directories stay here", r.Stay))
		}
		return nil
	})
}

// realAbs is what the agent calls a path.
func realAbs(arg string) (string, error) {
	path, err := abs(arg)
	if err != nil {
		return "", err
	}
	return realPath(path)
}
