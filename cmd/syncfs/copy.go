package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/upkeep"
)

type copyOptions struct {
	key keyFlags
	pin string
}

// copyReport is the last line of `copy --json`.
type copyReport struct {
	MessageType string `json:"message_type"`
	Objects     int64  `json:"objects"`
	Bytes       int64  `json:"bytes"`
	Folders     int    `json:"folders"`
}

func newCopyCommand(e *env) *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:   "copy URL",
		Short: "Copy the repository to another server or directory, encrypted as it is",
		Long: `Copy the repository to another syncfs server or to a directory, encrypted as it
is: the same passphrases and machines open the copy. Called again it brings what
is new since, and removes the records of versions that were forgotten. A copy
that others have written to is left alone.`,
		Example: `  syncfs copy /mnt/disk/repository
  syncfs copy https://other:5000 --key-file k.txt`,
		Args: exactArgs("URL"),
		RunE: runE(func(ctx context.Context, args []string) error { return e.copyTo(ctx, o, args[0]) }),
	}
	o.key.add(cmd.Flags(), "the other server's access key")
	cmd.Flags().StringVar(&o.pin, "fingerprint", "", "trust the other server's certificate with this `fingerprint`")
	e.addJSON(cmd)
	return cmd
}

func (e *env) copyTo(ctx context.Context, o copyOptions, url string) error {
	setup, err := e.setup(setupOptions{key: o.key, pin: o.pin}, url)
	if err != nil {
		return err
	}
	if setup.Pin, err = e.greet(ctx, setup, false); err != nil {
		return err
	}
	return e.withRepository(ctx, func(r *agent.Repository) error {
		bar := e.newProgress()
		res, err := r.CopyTo(ctx, setup, func(objects, bytes int64) {
			bar.update(agent.Progress{Stage: "upload", Files: objects, Bytes: bytes})
		})
		bar.done()
		switch {
		case errors.Is(err, upkeep.ErrDiverged):
			return hinted(err, "it is a repository of its own now; copy to an empty place")
		case errors.Is(err, upkeep.ErrForeign):
			return hinted(err, "copy to an empty place")
		case err != nil:
			return hinted(err, "what has arrived stays: the same command goes on")
		}
		if e.json {
			e.jsonLine(e.stdout, copyReport{MessageType: "summary", Objects: res.Objects, Bytes: res.Bytes, Folders: res.Folders})
			return nil
		}
		e.say("copied %s in %s, %s", size(res.Bytes), count(res.Objects, "object", "objects"), count(int64(res.Folders), "folder", "folders"))
		return nil
	})
}
