package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/remote"
)

func newUploadsCommand(e *env) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "uploads",
		Short: "List and bring back files of the File Storage API",
		Long: `List and bring back files of the File Storage API: those that scripts and curl
send with /upload. They lie in the server's directory as they were sent, not
encrypted, apart from the repository. What was replaced or deleted is kept for
the time of "syncfs serve --keep-uploads". A server may be running.`,
		Example: `  syncfs serve uploads list --data /srv/syncfs --kept
  syncfs serve uploads restore --data /srv/syncfs report.docx`,
		Args: noCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&data, "data", "", "the server's `directory`")
	open := func() (*remote.Uploads, error) {
		dir, err := serveOptions{data: data}.dataDir(e)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(remote.UploadDir(dir)); errors.Is(err, fs.ErrNotExist) {
			return nil, hinted(fmt.Errorf("%s is no server's directory", dir), "--data is the directory that `syncfs serve` was given")
		}
		return remote.OpenUploads(remote.UploadDir(dir), e.now, slog.New(slog.DiscardHandler))
	}
	cmd.AddCommand(newUploadsListCommand(e, open), newUploadsRestoreCommand(e, open))
	return cmd
}

type openUploads func() (*remote.Uploads, error)

func newUploadsListCommand(e *env, open openUploads) *cobra.Command {
	var kept bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the files, or what was replaced and deleted",
		Example: `  syncfs serve uploads list --data /srv/syncfs --kept`,
		Args:    exactArgs(),
		RunE: runE(func(context.Context, []string) error {
			uploads, err := open()
			if err != nil {
				return err
			}
			list, err := uploads.List()
			if kept {
				list, err = uploads.Kept()
			}
			if err != nil {
				return err
			}
			if e.json {
				return e.document(append([]remote.Upload{}, list...))
			}
			t := e.newTable("NAME", "SIZE", "SENT", "REPLACED OR DELETED")
			for _, u := range list {
				t.row(u.Name, size(u.Size), u.Time.In(e.loc).Format("2006-01-02 15:04:05"), u.Kept)
			}
			return t.flush()
		}),
	}
	cmd.Flags().BoolVar(&kept, "kept", false, "list what was replaced or deleted and is still kept")
	e.addJSON(cmd)
	return cmd
}

func newUploadsRestoreCommand(e *env, open openUploads) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use:   "restore NAME",
		Short: "Bring back a file that was replaced or deleted",
		Long: `Bring back a file that was replaced or deleted: the one that was lost last, or
the one of --at. What has the name now is kept in its turn.`,
		Example: `  syncfs serve uploads restore --data /srv/syncfs a.docx --at 20250131_201530`,
		Args:    exactArgs("NAME"),
		RunE: runE(func(_ context.Context, args []string) error {
			uploads, err := open()
			if err != nil {
				return err
			}
			u, err := uploads.Restore(args[0], at)
			if errors.Is(err, fs.ErrNotExist) {
				return hinted(err, "`syncfs serve uploads list --kept` lists what is kept")
			}
			if err != nil {
				return err
			}
			e.say("%s is as it was until %s (%s)", u.Name, u.Kept, size(u.Size))
			return nil
		}),
	}
	cmd.Flags().StringVar(&at, "at", "", "the `instant` at which it was replaced or deleted, as the list has it")
	return cmd
}
