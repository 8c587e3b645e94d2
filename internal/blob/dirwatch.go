package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// pollHeads is how often Watch looks for heads that another process moved.
const pollHeads = 500 * time.Millisecond

func sortHeads(heads []Head) {
	slices.SortFunc(heads, func(a, b Head) int { return strings.Compare(a.Folder, b.Folder) })
}

// Watch is Watcher.Watch. Commits of this process are told at once, those of
// others when their heads' files are next looked at; of several in between the
// last one is told.
func (d *Dir) Watch(ctx context.Context, ready func(), fn func(Event)) error {
	sub := d.hub.subscribe()
	defer d.hub.unsubscribe(sub)
	seen := headsSeen{}
	if _, err := d.moved(ctx, seen); err != nil {
		return err
	}
	ready()
	tick := time.NewTicker(pollHeads)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sub.slow:
			return errSlow
		case e := <-sub.events:
			if s := seen[e.Head.Folder]; e.Head.Number > s.number {
				s.number = e.Head.Number
				seen[e.Head.Folder] = s
				fn(e)
			}
		case <-tick.C:
			events, err := d.moved(ctx, seen)
			if err != nil {
				return err
			}
			for _, e := range events {
				fn(e)
			}
		}
	}
}

// headsSeen is, by folder, the head that was last told and the file it was in.
type headsSeen map[string]struct {
	number   uint64
	modified time.Time
	size     int64
}

// moved returns the heads that are newer than seen, and notes them.
func (d *Dir) moved(ctx context.Context, seen headsSeen) ([]Event, error) {
	folders, err := d.folders(headSuffix)
	if err != nil {
		return nil, err
	}
	var events []Event
	for _, folder := range folders {
		info, err := os.Stat(d.headPath(folder, headSuffix))
		if err != nil {
			return nil, storeError(err)
		}
		s := seen[folder]
		if s.modified.Equal(info.ModTime()) && s.size == info.Size() {
			continue
		}
		head, err := d.Head(ctx, folder)
		if errors.Is(err, ErrCorrupt) {
			d.log.Error("a head is damaged", "folder", folder, "error", err)
			head, err = Head{Folder: folder}, nil
		}
		if err != nil {
			return nil, err
		}
		s.modified, s.size = info.ModTime(), info.Size()
		if head.Number > s.number {
			s.number = head.Number
			e := Event{Head: head}
			if e.Entry, err = d.record(ctx, head); err != nil {
				return nil, err
			}
			events = append(events, e)
		}
		seen[folder] = s
	}
	return events, nil
}

// record reads the newest snapshot record of a head; nil when it has been
// folded into a log segment, or when there is none.
func (d *Dir) record(ctx context.Context, head Head) ([]byte, error) {
	if head.Record == "" {
		return nil, nil
	}
	r, err := d.Get(ctx, head.Record, 0, -1)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
