package line

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
	"golang.org/x/sync/errgroup"
)

// Base is the snapshot that a machine has: what its next merge compares with.
// Forgetting spares it, so that a machine which was away long can still merge.
type Base struct {
	Device   string // random id of the machine, as in its snapshots
	Host     string
	Number   uint64 // of the head with which the machine last agreed
	Snapshot chunk.ID
	Put      time.Time // by the remote's clock
}

const baseVersion = 1

// EncodeBase writes what is sealed in a base: Host and Snapshot.
func EncodeBase(b Base) []byte {
	out := canon.String([]byte{baseVersion}, b.Host)
	return append(out, b.Snapshot[:]...)
}

// DecodeBase reads what EncodeBase wrote.
func DecodeBase(data []byte) (Base, error) {
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != baseVersion {
		return Base{}, fmt.Errorf("base of format %d, but this program knows %d only: update it", v, baseVersion)
	}
	b := Base{Host: d.String(math.MaxUint16)}
	copy(b.Snapshot[:], d.Fixed(len(b.Snapshot)))
	if err := d.Done(); err != nil {
		return Base{}, fmt.Errorf("decode a base: %w", err)
	}
	return b, nil
}

func baseName(folder, device string, number uint64) string {
	return fmt.Sprintf("bases/%s/%s-%016x", folder, device, number)
}

// PutBase tells the remote a machine's base of a folder, and removes those that
// it told before.
func (l *Lines) PutBase(ctx context.Context, folder string, b Base) error {
	if !blob.ValidFolder(b.Device) {
		return fmt.Errorf("%q cannot name a machine", b.Device)
	}
	name := baseName(folder, b.Device, b.Number)
	sealed, err := l.keys.SealBlob(kindBase, name, EncodeBase(b))
	if err != nil {
		return err
	}
	if err := l.put(ctx, name, sealed); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("put the base of folder %s: %w", folder, err)
	}
	var old []string
	prefix := "bases/" + folder + "/"
	err = l.remote.List(ctx, prefix+b.Device+"-", "", func(i blob.Info) error {
		if device, _, ok := parseBase(i.Name[len(prefix):]); ok && device == b.Device && i.Name < name {
			old = append(old, i.Name)
		}
		return nil
	})
	for _, name := range old {
		if err == nil {
			err = l.remote.Delete(ctx, name)
		}
	}
	if err != nil {
		return fmt.Errorf("remove old bases of folder %s: %w", folder, err)
	}
	return nil
}

// ListBases returns every machine's newest base of a folder. One that is damaged
// is named in the error (ErrDamaged), beside the others.
func (l *Lines) ListBases(ctx context.Context, folder string) ([]Base, error) {
	prefix := "bases/" + folder + "/"
	newest := map[string]blob.Info{}
	var order []string
	err := l.remote.List(ctx, prefix, "", func(i blob.Info) error {
		device, _, ok := parseBase(i.Name[len(prefix):])
		if !ok {
			return nil
		}
		if _, ok := newest[device]; !ok {
			order = append(order, device)
		}
		newest[device] = i // names of one machine come in order of their numbers
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the bases of folder %s: %w", folder, err)
	}
	var list []Base
	var bad []error
	for _, device := range order {
		i := newest[device]
		b, err := l.readBase(ctx, i)
		switch {
		case errors.Is(err, fs.ErrNotExist): // replaced meanwhile, by one that keeps more
			continue
		case errors.Is(err, ErrDamaged):
			bad = append(bad, err)
			continue
		case err != nil:
			return nil, err
		}
		_, b.Number, _ = parseBase(i.Name[len(prefix):])
		b.Device, b.Put = device, i.Modified
		list = append(list, b)
	}
	return list, errors.Join(bad...)
}

func (l *Lines) readBase(ctx context.Context, i blob.Info) (Base, error) {
	data, err := l.read(ctx, i.Name, 1<<20)
	if err != nil {
		return Base{}, err
	}
	plain, err := l.keys.OpenBlob(kindBase, i.Name, data)
	if err != nil {
		return Base{}, fmt.Errorf("%s: %w: %w", i.Name, ErrDamaged, err)
	}
	b, err := DecodeBase(plain)
	if err != nil {
		return Base{}, fmt.Errorf("%s: %w: %w", i.Name, ErrDamaged, err)
	}
	return b, nil
}

// parseBase takes DEVICE-NUMBER apart.
func parseBase(s string) (device string, number uint64, ok bool) {
	i := strings.LastIndexByte(s, '-')
	if i <= 0 || len(s)-i-1 != 16 {
		return "", 0, false
	}
	n, err := fmt.Sscanf(s[i+1:], "%016x", &number)
	return s[:i], number, n == 1 && err == nil
}

// each calls fn for every item, several at once.
func each[T any](ctx context.Context, atOnce int, items []T, fn func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, item := range items {
		g.Go(func() error { return fn(ctx, item) })
	}
	return g.Wait()
}
