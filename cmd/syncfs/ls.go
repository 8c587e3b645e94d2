package main

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/versions"
)

type lsOptions struct {
	atFlag
	long      bool
	recursive bool
}

func newLsCommand(e *env) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:   "ls [PATH[@TIME]]",
		Short: "List a directory as it was",
		Long: "List a directory as it was. In an on-demand folder, -l without a TIME tells\n" +
			"first what of each is on this disk: local, stub, partial or pinned.\n\n" + timeHelp,
		Example: `  syncfs ls .@yesterday
  syncfs ls -l docs:letters@2025-01-31
  syncfs ls report.docx@2h-ago --json`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runLs(ctx, e, o, append(args, ".")[0]) }),
	}
	o.add(cmd.Flags())
	cmd.Flags().BoolVarP(&o.long, "long", "l", false, "also mode, owner, size and time")
	cmd.Flags().BoolVarP(&o.recursive, "recursive", "R", false, "also everything below")
	e.addJSON(cmd)
	return cmd
}

func runLs(ctx context.Context, e *env, o lsOptions, arg string) error {
	return e.withReader(ctx, func(r *agent.Reader) error {
		s, err := e.look(ctx, r, arg, o.at)
		if err != nil {
			return err
		}
		out := e.newListing(s, o.long)
		switch {
		case s.Entry.Kind != versions.Dir:
			err = out.add(path.Base(s.place.Rel), s.Entry)
		case o.recursive:
			err = r.Trees().Walk(ctx, s.Entry, func(name string, entry versions.Entry) error {
				if name == "" {
					return nil
				}
				return out.add(name, entry)
			})
		default:
			var list []versions.Entry
			list, err = r.Trees().Read(ctx, s.Entry.Tree)
			for _, entry := range list {
				if err == nil {
					err = out.add(entry.Name, entry)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.label(), err)
		}
		return out.end()
	})
}

// entryRow is one entry in JSON.
type entryRow struct {
	Path    string    `json:"path"`
	Raw     string    `json:"path_quoted,omitempty"` // Go syntax, when the name is not UTF-8
	Type    string    `json:"type"`
	Mode    string    `json:"mode"` // octal
	UID     uint32    `json:"uid"`
	GID     uint32    `json:"gid"`
	User    string    `json:"user,omitempty"`
	Group   string    `json:"group,omitempty"`
	Size    int64     `json:"size"`
	MTime   time.Time `json:"mtime"`
	Target  string    `json:"target,omitempty"`
	Instant string    `json:"instant"`
	State   string    `json:"state,omitempty"` // on-demand folders: what of it is here
}

func newEntryRow(name string, entry versions.Entry, at versions.Instant) entryRow {
	row := entryRow{
		Path: name, Type: typeName(entry.Kind), Mode: fmt.Sprintf("%04o", entry.Mode),
		UID: entry.UID, GID: entry.GID, User: entry.User, Group: entry.Group,
		Size: entry.Size, MTime: time.Unix(0, entry.MTime).UTC(), Target: entry.Target, Instant: at.String(),
	}
	if !utf8.ValidString(name) {
		row.Raw = strconv.Quote(name)
	}
	return row
}

func typeName(k versions.Kind) string { return agent.TypeName(k) }

// listing prints entries: names as they come, or a table, or JSON at the end.
type listing struct {
	e    *env
	at   versions.Instant
	from seen
	long *table
	rows []entryRow
}

func (e *env) newListing(s seen, long bool) *listing {
	l := &listing{e: e, at: s.Snapshot.Instant, from: s, rows: []entryRow{}}
	if long && !e.json {
		l.long = e.newTable()
	}
	return l
}

func (l *listing) add(name string, entry versions.Entry) error {
	state := ""
	if l.e.json || l.long != nil {
		below := name
		if l.from.Entry.Kind != versions.Dir {
			below = "" // it is what was asked for
		}
		state = stateBelow(l.from, below)
	}
	switch {
	case l.e.json:
		row := newEntryRow(name, entry, l.at)
		row.State = state
		l.rows = append(l.rows, row)
	case l.long != nil && l.from.place.Folder.OnDemand && l.from.when == nil:
		l.long.row(state, modeText(entry), owner(entry.User, entry.UID), owner(entry.Group, entry.GID), size(entry.Size),
			time.Unix(0, entry.MTime).In(l.e.loc).Format("2006-01-02 15:04:05"), longName(name, entry))
	case l.long != nil:
		l.long.row(modeText(entry), owner(entry.User, entry.UID), owner(entry.Group, entry.GID), size(entry.Size),
			time.Unix(0, entry.MTime).In(l.e.loc).Format("2006-01-02 15:04:05"), longName(name, entry))
	default:
		_, err := fmt.Fprintln(l.e.stdout, shownName(name, entry))
		return err
	}
	return nil
}

func (l *listing) end() error {
	switch {
	case l.e.json:
		return l.e.document(l.rows)
	case l.long != nil:
		return l.long.flush()
	}
	return nil
}

// shownName marks directories by a slash.
func shownName(name string, entry versions.Entry) string {
	if entry.Kind == versions.Dir {
		name += "/"
	}
	return clean(name)
}

func longName(name string, entry versions.Entry) string {
	name = shownName(name, entry)
	if entry.Kind == versions.Symlink {
		name += " -> " + entry.Target
	}
	if entry.Unstable {
		name += "  (taken while it was being written)"
	}
	return name
}

func owner(name string, id uint32) string {
	if name != "" {
		return name
	}
	return strconv.FormatUint(uint64(id), 10)
}

// modeText is what ls -l prints.
func modeText(entry versions.Entry) string {
	mode := fs.FileMode(entry.Mode & 0o777)
	text := []byte(mode.String())
	text[0] = map[versions.Kind]byte{versions.File: '-', versions.Dir: 'd', versions.Symlink: 'l', versions.CharDev: 'c', versions.BlkDev: 'b'}[entry.Kind]
	special := func(bit uint32, at int, set, bare byte) {
		if entry.Mode&bit == 0 {
			return
		}
		if text[at] == 'x' {
			text[at] = set
		} else {
			text[at] = bare
		}
	}
	special(0o4000, 3, 's', 'S')
	special(0o2000, 6, 's', 'S')
	special(0o1000, 9, 't', 'T')
	out := string(text)
	for _, x := range entry.Xattrs {
		if strings.HasPrefix(x.Name, "system.posix_acl_") {
			return out + "+"
		}
	}
	return out
}
