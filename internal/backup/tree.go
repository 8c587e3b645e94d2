package backup

import (
	"context"
	"errors"
	"time"

	"github.com/syncfs/syncfs/versions"
)

// Tree is what somebody else has made of chunks in the store.
type Tree struct {
	Root versions.Entry
	At   time.Time // when all of it was so; zero: now
}

// TakeTree saves a tree that build makes: build stores listings and contents by
// the means that it is given, and last is the root of the newest snapshot, zero
// where there is none. When build fails nothing is saved.
func TakeTree(ctx context.Context, o Options, build func(ctx context.Context, trees *versions.Trees, contents *versions.Contents, last versions.Entry) (Tree, error)) (Report, error) {
	o.fill()
	s, err := open(ctx, o)
	if err != nil {
		return Report{}, err
	}
	err = s.takeTree(ctx, build)
	return s.report, errors.Join(err, s.close())
}

func (s *session) takeTree(ctx context.Context, build func(context.Context, *versions.Trees, *versions.Contents, versions.Entry) (Tree, error)) error {
	stop := s.uploadMeanwhile(ctx)
	tree, err := build(ctx, s.trees, s.contents, s.head.Root)
	stop()
	if err != nil {
		return err
	}
	s.at = tree.At
	err = s.commit(ctx, &versions.Snapshot{Root: tree.Root}, false, func(context.Context, string) error {
		return errors.New("a prune has removed what was stored while the backup ran, and it cannot be read again: run it once more")
	})
	if errors.Is(err, errOvertaken) {
		return nil
	}
	return err
}
