package containerbackup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// Kind is the kind of the folders that backups of containers go to.
const Kind = "container"

// Mismatch is one file that is not as the manifest says.
type Mismatch struct {
	Path string
	Err  error
}

// Verify reads every file of a snapshot and compares it with the manifest. It
// tells of each that differs, is missing, or that the manifest does not name;
// progress is told of every file and its bytes. It returns how many files it
// compared; the error is about what ended it.
func Verify(ctx context.Context, trees *versions.Trees, contents *versions.Contents, root versions.Entry, progress func(bytes int64), report func(Mismatch)) (int64, error) {
	want, err := readSums(ctx, trees, contents, root)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: it has no %s", ErrFormat, manifestName)
	}
	if err != nil {
		return 0, err
	}
	var files int64
	err = trees.Walk(ctx, root, func(path string, e versions.Entry) error {
		if e.Kind != versions.File || path == manifestName {
			return nil
		}
		sum, named := want.get(path)
		delete(want.of, path)
		if !named {
			report(Mismatch{path, fmt.Errorf("%w: the manifest does not name it", ErrMismatch)})
			return nil
		}
		files++
		got, err := sumOf(ctx, contents, e)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			report(Mismatch{path, err})
		case got != sum:
			report(Mismatch{path, fmt.Errorf("%w: its SHA-256 is %x, the manifest has %x", ErrMismatch, got, sum)})
		}
		progress(e.Size)
		return nil
	})
	if err != nil {
		return files, err
	}
	for _, path := range want.paths() {
		report(Mismatch{path, fmt.Errorf("%w: it is missing", ErrMismatch)})
	}
	return files, nil
}

func sumOf(ctx context.Context, contents *versions.Contents, e versions.Entry) (sum [32]byte, err error) {
	f, err := openStored(ctx, contents, e)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	return f.sum()
}

// Counter counts how much of a snapshot is in none that was counted before.
type Counter struct {
	trees    *versions.Trees
	contents *versions.Contents
	seen     map[chunk.ID]bool
}

// NewCounter counts what trees and contents read.
func NewCounter(trees *versions.Trees, contents *versions.Contents) *Counter {
	return &Counter{trees: trees, contents: contents, seen: map[chunk.ID]bool{}}
}

// Add returns the bytes of content below root that are new.
func (c *Counter) Add(ctx context.Context, root versions.Entry) (fresh int64, err error) {
	if root.Kind != versions.Dir || root.Tree.IsZero() || c.seen[root.Tree] {
		return 0, nil
	}
	c.seen[root.Tree] = true
	list, err := c.trees.Read(ctx, root.Tree)
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		var more int64
		switch e.Kind {
		case versions.Dir:
			more, err = c.Add(ctx, e)
		case versions.File:
			more, err = c.file(ctx, e)
		}
		if err != nil {
			return 0, err
		}
		fresh += more
	}
	return fresh, nil
}

func (c *Counter) file(ctx context.Context, e versions.Entry) (fresh int64, err error) {
	if !e.List.IsZero() {
		if c.seen[e.List] {
			return 0, nil
		}
		c.seen[e.List] = true
	}
	pieces, err := c.contents.Pieces(ctx, e)
	for _, p := range pieces {
		if !c.seen[p.ID] {
			c.seen[p.ID] = true
			fresh += int64(p.Length)
		}
	}
	return fresh, err
}
