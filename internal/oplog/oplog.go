// Package oplog keeps a record of each backup, restore and check that any
// machine made with a repository, sealed, beside the repository's other objects.
// What could not be recorded, since the remote could not be reached, waits on the
// machine and goes along with the next.
package oplog

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/seal"
)

// What an operation was.
const (
	Backup  = "backup"
	Restore = "restore"
	Check   = "check"
	Prune   = "prune"
	Repair  = "repair"
)

// Results of an operation.
const (
	Success = "success"
	Partial = "partial" // something could not be read, or was left alone
	Failed  = "failed"
)

// Operation is what one command did.
type Operation struct {
	Time    time.Time `json:"time"` // when it began, by the machine's clock
	Seconds float64   `json:"seconds"`
	Host    string    `json:"host"`
	User    string    `json:"user"`
	What    string    `json:"what"`
	Result  string    `json:"result"`
	Folder  string    `json:"folder,omitempty"`
	Path    string    `json:"path,omitempty"` // on the machine
	Instant string    `json:"instant,omitempty"`
	Files   int64     `json:"files"` // that were read, or written
	Bytes   int64     `json:"bytes"`
	Error   string    `json:"error,omitempty"`
}

const (
	prefix  = "operations/"
	kind    = "operation"
	maxSize = 64 << 10
	readers = 8
)

// Encode writes an operation, as it is sealed.
func Encode(op Operation) ([]byte, error) {
	op.Time = op.Time.UTC()
	if len(op.Error) > maxSize/16 {
		op.Error = strings.ToValidUTF8(op.Error[:maxSize/16], "") + " …"
	}
	return json.Marshal(op)
}

// Decode reads what Encode wrote. Fields that a later version has added are
// passed over.
func Decode(data []byte) (Operation, error) {
	var op Operation
	if len(data) > maxSize {
		return op, fmt.Errorf("an operation of %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &op); err != nil {
		return op, fmt.Errorf("decode an operation: %w", err)
	}
	if op.Time.IsZero() || op.What == "" || op.Result == "" {
		return op, errors.New("decode an operation: it says not when, what, or with which result")
	}
	return op, nil
}

// name is the name of an operation's object: names sort by time.
func name(at time.Time) (string, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%016x-%s", max(at.UnixNano(), 0), hex.EncodeToString(random[:])), nil
}

// timeOf is the time that a name tells.
func timeOf(name string) (time.Time, bool) {
	number, _, ok := strings.Cut(name, "-")
	n, err := strconv.ParseInt(number, 16, 64)
	return time.Unix(0, n), ok && err == nil && len(number) == 16
}

// Put records an operation: first in dir, on this machine, then with all that
// waits there on the remote.
func Put(ctx context.Context, remote blob.Store, keys *seal.Keys, dir string, op Operation) error {
	plain, err := Encode(op)
	if err != nil {
		return err
	}
	n, err := name(op.Time)
	if err != nil {
		return err
	}
	sealed, err := keys.SealBlob(kind, n, plain)
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(dir, n), sealed, 0o600); err != nil {
		return err
	}
	return Send(ctx, remote, dir)
}

// Send brings to the remote what waits in dir.
func Send(ctx context.Context, remote blob.Store, dir string) error {
	waiting, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range waiting {
		if _, ok := timeOf(f.Name()); !ok {
			continue
		}
		path := filepath.Join(dir, f.Name())
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process has sent it
		}
		if err == nil {
			err = remote.Put(ctx, prefix+f.Name(), bytes.NewReader(data), int64(len(data)))
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("record what was done: %w", err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Since reads what was recorded since a time, oldest first. damaged counts what
// could not be read.
func Since(ctx context.Context, remote blob.Store, keys *seal.Keys, since time.Time) (list []Operation, damaged int, err error) {
	var names []string
	after := fmt.Sprintf("%s%016x", prefix, max(since.UnixNano(), 0))
	err = remote.List(ctx, prefix, after, func(i blob.Info) error {
		if _, ok := timeOf(strings.TrimPrefix(i.Name, prefix)); ok {
			names = append(names, i.Name)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list what was done: %w", err)
	}
	all, bad := make([]Operation, len(names)), make([]bool, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, n := range names {
		g.Go(func() error {
			var err error
			all[i], err = read(ctx, remote, keys, n)
			switch {
			case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			case errors.Is(err, errDamaged), errors.Is(err, blob.ErrCorrupt):
				bad[i] = true
			default:
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	for i, op := range all {
		if bad[i] {
			damaged++
		} else if op.What != "" {
			list = append(list, op)
		}
	}
	slices.SortStableFunc(list, func(x, y Operation) int { return x.Time.Compare(y.Time) })
	return list, damaged, nil
}

var errDamaged = errors.New("a damaged record")

// read reads one record; errDamaged.
func read(ctx context.Context, remote blob.Store, keys *seal.Keys, n string) (Operation, error) {
	r, err := remote.Get(ctx, n, 0, -1)
	if err != nil {
		return Operation{}, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return Operation{}, err
	}
	plain, err := keys.OpenBlob(kind, strings.TrimPrefix(n, prefix), data)
	if err != nil {
		return Operation{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	op, err := Decode(plain)
	if err != nil {
		return Operation{}, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return op, nil
}

// Forget removes what was recorded before a time.
func Forget(ctx context.Context, remote blob.Store, before time.Time) error {
	var old []string
	err := remote.List(ctx, prefix, "", func(i blob.Info) error {
		at, ok := timeOf(strings.TrimPrefix(i.Name, prefix))
		if ok && !at.Before(before) {
			return fs.SkipAll
		}
		if ok {
			old = append(old, i.Name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return fmt.Errorf("list what was done: %w", err)
	}
	for _, n := range old {
		if err := remote.Delete(ctx, n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget what was done long ago: %w", err)
		}
	}
	return nil
}
