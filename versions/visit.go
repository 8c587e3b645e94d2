package versions

import (
	"context"
	"errors"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Visitor is what WalkParallel calls. Calls may come from several goroutines at
// once; nil functions are left out.
type Visitor struct {
	// Enter is called for a directory before anything in it. SkipDir leaves out
	// what is in it, and Leave.
	Enter func(ctx context.Context, path string, e Entry) error
	// File is called for what is no directory, several at once.
	File func(ctx context.Context, path string, e Entry) error
	// Leave is called for a directory after everything in it is done: the time
	// to set its mode and times.
	Leave func(ctx context.Context, path string, e Entry) error
}

// WalkParallel visits a tree as Walk does, with up to workers files at once: what
// a restore needs. The first error ends it. Enter is called in path order.
func (t *Trees) WalkParallel(ctx context.Context, root Entry, workers int, v Visitor) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, workers))
	var open []*openDir // the directories that the walk is in
	done := func(d *openDir) error {
		for ; d != nil && d.left() == 0; d = d.parent {
			if v.Leave != nil {
				if err := v.Leave(ctx, d.path, d.entry); err != nil {
					return err
				}
			}
		}
		return nil
	}
	// leave ends the directories that path is not in.
	leave := func(path string) error {
		for len(open) > 0 {
			d := open[len(open)-1]
			if d.path == "" && path != "" || path != "" && strings.HasPrefix(path, d.path+"/") {
				return nil
			}
			open = open[:len(open)-1]
			if err := done(d); err != nil {
				return err
			}
		}
		return nil
	}
	walkErr := t.Walk(ctx, root, func(path string, e Entry) error {
		if err := leave(path); err != nil {
			return err
		}
		var parent *openDir
		if len(open) > 0 {
			parent = open[len(open)-1]
		}
		if e.Kind == Dir {
			if v.Enter != nil {
				if err := v.Enter(ctx, path, e); err != nil {
					return err
				}
			}
			open = append(open, newOpenDir(path, e, parent))
			return nil
		}
		parent.enter()
		g.Go(func() error {
			if v.File != nil {
				if err := v.File(ctx, path, e); err != nil {
					return err
				}
			}
			return done(parent)
		})
		return nil
	})
	if walkErr == nil {
		walkErr = leave("")
	}
	if walkErr != nil { // end the workers too
		g.Go(func() error { return walkErr })
	}
	err := g.Wait()
	if walkErr != nil && !errors.Is(walkErr, context.Canceled) {
		return walkErr
	}
	return err
}
