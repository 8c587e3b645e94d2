package blob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// A head is a file of JSON, FOLDER.head. While a commit is between its record
// and its head, FOLDER.next names the record: whoever finds one with the lock
// held knows that the commit was cut off there, and takes the record back.
const (
	headSuffix = ".head"
	nextSuffix = ".next"
	lockSuffix = ".lock"
)

type headFile struct {
	Folder   string `json:"folder"`
	Number   uint64 `json:"number"`
	Received int64  `json:"received"` // nanoseconds since 1970
	Record   string `json:"record,omitempty"`
	Sealed   []byte `json:"sealed"`
}

func (d *Dir) headPath(folder, suffix string) string {
	return filepath.Join(d.root, headsDir, folder+suffix)
}

// Head is Heads.Head. What it returns is durable: a head that was seen counts as
// committed, so it must not go with the power.
func (d *Dir) Head(ctx context.Context, folder string) (Head, error) {
	if err := ctx.Err(); err != nil {
		return Head{}, err
	}
	h, err := d.readFolder(folder)
	if err != nil {
		return Head{}, err
	}
	d.mu.Lock()
	known := d.durable[folder] >= h.Number
	_, doubtful := d.doubtful[folder]
	d.mu.Unlock()
	switch {
	case doubtful:
		var unlock func()
		if unlock, err = d.lockHead(ctx, folder); err == nil {
			h, err = d.lastHead(folder)
			unlock()
		}
	case !known: // a commit is about it, or another process, or one that died
		if err = d.syncDir(filepath.Join(d.root, headsDir)); err == nil {
			d.setDurable(h)
		}
	}
	if err != nil {
		return Head{}, fmt.Errorf("head of %s: %w", folder, storeError(err))
	}
	return h, nil
}

// readFolder reads a folder's head as it is just now.
func (d *Dir) readFolder(folder string) (Head, error) {
	if !ValidFolder(folder) {
		return Head{}, fmt.Errorf("%q cannot name a folder", folder)
	}
	h, err := readHead(d.headPath(folder, headSuffix))
	if err != nil {
		return Head{}, fmt.Errorf("head of %s: %w", folder, storeError(err))
	}
	if h.Folder != folder {
		return Head{}, fmt.Errorf("head of %s is that of %q: %w", folder, h.Folder, ErrCorrupt)
	}
	return h, nil
}

// lastHead reads the head that a commit goes on from. One that could not be
// synced is written anew: after a failed sync another one proves nothing. It
// needs the head's lock.
func (d *Dir) lastHead(folder string) (Head, error) {
	h, err := d.readFolder(folder)
	if err != nil {
		return Head{}, err
	}
	d.mu.Lock()
	_, doubtful := d.doubtful[folder]
	d.mu.Unlock()
	if !doubtful {
		return h, nil
	}
	if err := d.writeHead(d.headPath(folder, headSuffix), h); err != nil {
		return Head{}, fmt.Errorf("write the head of %s again: %w", folder, err)
	}
	if err := d.syncHead(h); err != nil {
		return Head{}, fmt.Errorf("write the head of %s again: %w", folder, err)
	}
	return h, nil
}

// syncHead makes the head that has just been given its name durable, or notes
// that it may not be.
func (d *Dir) syncHead(h Head) error {
	err := d.syncDir(filepath.Join(d.root, headsDir))
	if err == nil {
		d.setDurable(h)
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.doubtful[h.Folder] = struct{}{}
	return err
}

func (d *Dir) setDurable(h Head) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h.Number >= d.durable[h.Folder] {
		d.durable[h.Folder] = h.Number
		delete(d.doubtful, h.Folder)
	}
}

func readHead(path string) (Head, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Head{}, err
	}
	var f headFile
	if err := json.Unmarshal(data, &f); err != nil {
		return Head{}, fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	}
	if f.Number == 0 {
		return Head{}, fmt.Errorf("%s: a head without a number: %w", path, ErrCorrupt)
	}
	return Head{Folder: f.Folder, Number: f.Number, Received: time.Unix(0, f.Received).UTC(), Record: f.Record, Sealed: f.Sealed}, nil
}

// writeHead replaces the file path. The caller syncs its directory.
func (d *Dir) writeHead(path string, h Head) error {
	data, err := json.Marshal(headFile{Folder: h.Folder, Number: h.Number, Received: h.Received.UnixNano(), Record: h.Record, Sealed: h.Sealed})
	if err != nil {
		return err
	}
	f, err := atomicfile.CreateIn(d.temp.path, path, 0o600)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(append(data, '\n')); err != nil {
		return err
	}
	return f.Rename()
}

// folders lists those that have a file with suffix, sorted.
func (d *Dir) folders(suffix string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.root, headsDir))
	if err != nil {
		return nil, storeError(err)
	}
	var names []string
	for _, e := range entries {
		if folder, ok := strings.CutSuffix(e.Name(), suffix); ok && ValidFolder(folder) {
			names = append(names, folder)
		}
	}
	return names, nil
}

// ListHeads is Heads.ListHeads.
func (d *Dir) ListHeads(ctx context.Context) ([]Head, error) {
	folders, err := d.folders(headSuffix)
	if err != nil {
		return nil, err
	}
	heads := make([]Head, 0, len(folders))
	for _, folder := range folders {
		h, err := d.Head(ctx, folder)
		if errors.Is(err, ErrCorrupt) {
			// The others are not to suffer: whoever opens this one sees it.
			d.log.Error("a head is damaged", "folder", folder, "error", err)
			h, err = Head{Folder: folder, Number: 1}, nil
		}
		if err != nil {
			return nil, err
		}
		heads = append(heads, h)
	}
	sortHeads(heads)
	return heads, nil
}

// Commit is Heads.Commit.
func (d *Dir) Commit(ctx context.Context, folder string, c Commit) (Head, error) {
	if err := checkCommit(folder, c); err != nil {
		return Head{}, err
	}
	if err := ctx.Err(); err != nil {
		return Head{}, err
	}
	if err := d.putAll(ctx, c.Blobs); err != nil {
		return Head{}, err
	}
	unlock, err := d.lockHead(ctx, folder)
	if err != nil {
		return Head{}, err
	}
	defer unlock()
	if err := d.undoNext(ctx, folder); err != nil {
		return Head{}, err
	}
	last, err := d.lastHead(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Head{}, err
	}
	head, err := nextHead(folder, last, c, d.now())
	if err != nil {
		return Head{}, err
	}
	if err := d.replaceHead(ctx, head, c); err != nil {
		return Head{}, fmt.Errorf("commit to %s: %w", folder, storeError(err))
	}
	d.hub.publish(newEvent(cloneHead(head), cloneCommit(c)))
	return cloneHead(head), nil
}

// replaceHead needs the head's lock.
//
// The name of FOLDER.next is not synced on its own: it comes before the record's,
// and file systems keep names in order. Where one does not, a power cut may leave
// a record that no head has, which is only a state that was seen once.
func (d *Dir) replaceHead(ctx context.Context, head Head, c Commit) error {
	path := d.headPath(head.Folder, headSuffix)
	if c.ID == "" {
		if err := d.writeHead(path, head); err != nil {
			return err
		}
		return d.syncHead(head)
	}
	next := d.headPath(head.Folder, nextSuffix)
	err := d.writeHead(next, head)
	if err == nil {
		err = d.put(ctx, head.Record, bytes.NewReader(c.Record), int64(len(c.Record)))
	}
	if err == nil {
		err = os.Rename(next, path)
	}
	if err == nil {
		return d.syncHead(head)
	}
	// The caller's ctx may have ended, the record must go all the same.
	if uerr := d.undoNext(context.WithoutCancel(ctx), head.Folder); uerr != nil {
		d.log.Warn("an unfinished commit is left for the next one to clear", "folder", head.Folder, "error", uerr)
	}
	return err
}

// undoNext takes back the record of a commit that was cut off before its head.
// It needs the head's lock.
func (d *Dir) undoNext(ctx context.Context, folder string) error {
	path := d.headPath(folder, nextSuffix)
	next, err := readHead(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("clear an unfinished commit to %s: %w", folder, storeError(err))
	}
	head, headErr := d.readFolder(folder)
	if headErr != nil && !errors.Is(headErr, fs.ErrNotExist) {
		return headErr // it might be the one
	}
	if err == nil && next.Record != "" && next.Record != head.Record {
		d.log.Info("clearing an unfinished commit", "folder", folder, "number", next.Number)
		if err := d.Delete(ctx, next.Record); err != nil {
			return err
		}
	}
	if err := atomicfile.Remove(path); err != nil {
		return fmt.Errorf("clear an unfinished commit to %s: %w", folder, storeError(err))
	}
	return nil
}

// lockHead takes the folder's lock, in this process and among processes.
func (d *Dir) lockHead(ctx context.Context, folder string) (unlock func(), err error) {
	leave, err := d.headLocks.lock(ctx, folder)
	if err != nil {
		return nil, err
	}
	lock, err := lockFile(ctx, d.headPath(folder, lockSuffix))
	if err != nil {
		leave()
		return nil, fmt.Errorf("lock the head of %s: %w", folder, storeError(err))
	}
	return func() { lock.unlock(); leave() }, nil
}

// finishHeads clears at the start what commits that were cut off have left.
func (d *Dir) finishHeads() error {
	folders, err := d.folders(nextSuffix)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for _, folder := range folders {
		unlock, err := d.lockHead(ctx, folder)
		if err != nil {
			return err
		}
		err = d.undoNext(ctx, folder)
		unlock()
		if errors.Is(err, ErrCorrupt) { // of one folder: the others go on
			d.log.Error("an unfinished commit cannot be cleared", "folder", folder, "error", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}
