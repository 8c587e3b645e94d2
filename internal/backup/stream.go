package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// stream saves r as the folder's one file. A long one is committed in between,
// so that a prune elsewhere spares what was sent.
func (s *session) stream(ctx context.Context, name string, r io.Reader) error {
	if name == "" || path.Base(name) != name || name == "." || name == ".." {
		return fmt.Errorf("%q cannot name a file", name)
	}
	r, stop := interruptible(ctx, r)
	defer stop()
	var pieces []versions.Piece
	slice := slice{most: s.o.Slice, now: s.o.Now}
	for {
		slice.begin()
		part := &timed{r: r, slice: &slice}
		sent := s.uploadMeanwhile(ctx)
		e, err := s.contents.Write(ctx, part)
		sent()
		if err == nil {
			err = part.err
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		s.report.ReadBytes += e.Size
		s.o.Progress(Progress{Read: e.Size})
		more, err := s.contents.Pieces(ctx, e)
		if err != nil {
			return err
		}
		pieces = append(pieces, more...)
		if part.cut {
			if err := s.saveStream(ctx, name, pieces, tagPartial); err != nil {
				return err
			}
			s.report.Slices++
			continue
		}
		s.report.ReadFiles = 1
		return s.saveStream(ctx, name, pieces)
	}
}

// interruptible is r, but a read ends with ctx. Nobody can wait for a read of r
// itself that does not end: what makes it goes on until r ends, or the process.
func interruptible(ctx context.Context, r io.Reader) (*io.PipeReader, func()) {
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	end := context.AfterFunc(ctx, func() { in.CloseWithError(ctx.Err()) })
	return out, func() {
		end()
		out.Close()
	}
}

// saveStream commits a tree of one file.
func (s *session) saveStream(ctx context.Context, name string, pieces []versions.Piece, tags ...string) error {
	e, err := versions.StorePieces(ctx, s.store, pieces)
	if err != nil {
		return err
	}
	now, owners := s.o.Now(), disk.NewOwners()
	e.Name, e.Kind, e.Mode, e.MTime = name, versions.File, 0o600, now.UnixNano()
	root := versions.Entry{Kind: versions.Dir, Mode: 0o700, MTime: e.MTime}
	for _, x := range []*versions.Entry{&e, &root} {
		if uid := os.Getuid(); uid >= 0 {
			x.UID, x.GID = uint32(uid), uint32(os.Getgid())
			x.User, x.Group = owners.User(x.UID), owners.Group(x.GID)
		}
	}
	if err := e.Validate(); err != nil {
		return err
	}
	if len(tags) == 0 && !s.head.Snapshot.IsZero() && s.tagged() {
		list, err := s.trees.Read(ctx, s.head.Root.Tree)
		if err == nil && len(list) == 1 && list[0].Name == name && versions.SameContent(list[0], e) {
			s.unchanged()
			return nil
		}
	}
	if root.Tree, err = s.trees.Write(ctx, []versions.Entry{e}); err != nil {
		return err
	}
	root.Size, root.Count = e.Size, 1
	err = s.commit(ctx, &versions.Snapshot{Root: root, Tags: tags}, false, func(context.Context, string) error {
		return errors.New("a stream cannot be read again")
	})
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}

// timed ends a stream when a slice is over, or when it ends or fails itself.
type timed struct {
	r     io.Reader
	slice *slice
	cut   bool // it goes on
	err   error
}

// Read is io.Reader.
func (t *timed) Read(p []byte) (int, error) {
	if t.slice.enough() {
		t.cut = true
		return 0, io.EOF
	}
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}
