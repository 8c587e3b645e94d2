package line

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// What a folder's owner wants of its past lies below "policy/FOLDER/", which who
// may only append cannot write: "rules-NUMBER" says which versions are kept, the
// greatest number counts; "pin-SNAPSHOT" keeps one whatever the rules say.

const (
	kindRules     = "rules"
	kindPin       = "pin"
	rulesVersion  = 1
	pinVersion    = 1
	maxPolicy     = 1 << 20
	maxRuleTags   = 1 << 10
	maxPolicyWord = 1 << 10
)

func policyPrefix(folder string) string { return "policy/" + folder + "/" }

func rulesName(folder string, n uint64) string {
	return fmt.Sprintf("%srules-%016x", policyPrefix(folder), n)
}

func pinName(folder string, snapshot chunk.ID) string {
	return policyPrefix(folder) + "pin-" + snapshot.String()
}

// EncodeRules writes what is sealed in the rules of a folder.
func EncodeRules(r versions.Retention) []byte {
	b := []byte{rulesVersion}
	b = canon.Uvarint(b, uint64(len(r.Count)))
	for _, u := range slices.Sorted(maps.Keys(r.Count)) {
		b = canon.Int64(append(b, byte(u)), int64(r.Count[u]))
	}
	b = canon.Uvarint(b, uint64(len(r.Within)))
	for _, u := range slices.Sorted(maps.Keys(r.Within)) {
		b = canon.Int64(append(b, byte(u)), int64(r.Within[u]))
	}
	b = canon.Int64(b, int64(r.Younger))
	b = canon.Uvarint(b, uint64(len(r.Tags)))
	for _, tags := range r.Tags {
		b = canon.Uvarint(b, uint64(len(tags)))
		for _, tag := range tags {
			b = canon.String(b, tag)
		}
	}
	return b
}

// DecodeRules reads what EncodeRules wrote.
func DecodeRules(data []byte) (versions.Retention, error) {
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != rulesVersion {
		return versions.Retention{}, fmt.Errorf("rules of format %d, but this program knows %d only: update it", v, rulesVersion)
	}
	last := -1
	unit := func() versions.Unit {
		u := int(d.Byte())
		if d.Err() == nil && (u <= last || u > int(versions.Yearly)) {
			d.Fail("unit %d", u)
		}
		last = u
		return versions.Unit(u)
	}
	var r versions.Retention
	if n := d.Count(math.MaxInt32, 9); n > 0 {
		r.Count = map[versions.Unit]int{}
		for range n {
			u := unit()
			r.Count[u] = int(d.Int64())
			if r.Count[u] < versions.All {
				d.Fail("%d versions", r.Count[u])
			}
		}
	}
	last = -1
	if n := d.Count(math.MaxInt32, 9); n > 0 {
		r.Within = map[versions.Unit]time.Duration{}
		for range n {
			u := unit()
			r.Within[u] = time.Duration(d.Int64())
			if r.Within[u] < 0 {
				d.Fail("%v", r.Within[u])
			}
		}
	}
	if r.Younger = time.Duration(d.Int64()); r.Younger < 0 {
		d.Fail("%v", r.Younger)
	}
	for range d.Count(maxRuleTags, 1) {
		var tags []string
		for range d.Count(maxRuleTags, 1) {
			tags = append(tags, d.String(maxPolicyWord))
		}
		r.Tags = append(r.Tags, tags)
	}
	if err := d.Done(); err != nil {
		return versions.Retention{}, fmt.Errorf("decode rules: %w", err)
	}
	return r, nil
}

// Pin keeps one snapshot whatever the rules say.
type Pin struct {
	Snapshot chunk.ID
	By       string // who pinned it: USER@HOST
	Put      time.Time
}

// EncodePin writes what is sealed in a pin.
func EncodePin(by string) []byte { return canon.String([]byte{pinVersion}, by) }

// DecodePin reads what EncodePin wrote.
func DecodePin(data []byte) (by string, err error) {
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != pinVersion {
		return "", fmt.Errorf("pin of format %d, but this program knows %d only: update it", v, pinVersion)
	}
	by = d.String(maxPolicyWord)
	if err := d.Done(); err != nil {
		return "", fmt.Errorf("decode a pin: %w", err)
	}
	return by, nil
}

// Policy is what a folder's owner wants of its past.
type Policy struct {
	Rules versions.Retention
	Set   bool // false: nobody has said anything
	Pins  []Pin
}

// Policy reads the policy of a folder. ErrDamaged where some of it cannot be
// read: then nothing may be forgotten.
func (l *Lines) Policy(ctx context.Context, folder string) (Policy, error) {
	for range maxRestarts {
		p, err := l.policy(ctx, folder)
		if !errors.Is(err, fs.ErrNotExist) { // else it was replaced meanwhile
			return p, err
		}
	}
	return Policy{}, fmt.Errorf("read the policy of folder %s: others change it all the time", folder)
}

func (l *Lines) policy(ctx context.Context, folder string) (p Policy, err error) {
	rules, last, infos, err := l.listPolicy(ctx, folder)
	if err != nil {
		return p, err
	}
	open := func(name, kind string) ([]byte, error) {
		data, err := l.read(ctx, name, maxPolicy)
		if err != nil {
			return nil, err
		}
		plain, err := l.keys.OpenBlob(kind, name, data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)
		}
		return plain, nil
	}
	if len(rules) > 0 {
		name := rulesName(folder, last)
		plain, err := open(name, kindRules)
		if err == nil {
			if p.Rules, err = DecodeRules(plain); err != nil {
				err = fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)
			}
		}
		if err != nil {
			return p, err
		}
		p.Set = true
	}
	for _, i := range infos {
		plain, err := open(i.Name, kindPin)
		pin := Pin{Put: i.Modified}
		if err == nil {
			if pin.By, err = DecodePin(plain); err != nil {
				err = fmt.Errorf("%s: %w: %w", i.Name, ErrDamaged, err)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // taken away meanwhile
		}
		if err == nil {
			pin.Snapshot, err = chunk.ParseID(strings.TrimPrefix(i.Name, policyPrefix(folder)+"pin-"))
		}
		if err != nil {
			return p, err
		}
		p.Pins = append(p.Pins, pin)
	}
	return p, nil
}

// listPolicy lists the names of rules, the greatest number, and the pins.
func (l *Lines) listPolicy(ctx context.Context, folder string) (rules []string, last uint64, pins []blob.Info, err error) {
	prefix := policyPrefix(folder)
	err = l.remote.List(ctx, prefix, "", func(i blob.Info) error {
		rest := i.Name[len(prefix):]
		var n uint64
		switch {
		case strings.HasPrefix(rest, "pin-"):
			pins = append(pins, i)
		case strings.HasPrefix(rest, "rules-"):
			if _, err := fmt.Sscanf(rest, "rules-%016x", &n); err == nil && rulesName(folder, n) == i.Name {
				rules, last = append(rules, i.Name), max(last, n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, nil, fmt.Errorf("read the policy of folder %s: %w", folder, err)
	}
	return rules, last, pins, nil
}

// SetRules replaces the rules of a folder.
func (l *Lines) SetRules(ctx context.Context, folder string, r versions.Retention) error {
	plain := EncodeRules(r)
	if _, err := DecodeRules(plain); err != nil {
		return err
	}
	for range maxRestarts {
		old, last, _, err := l.listPolicy(ctx, folder)
		if err != nil {
			return err
		}
		name := rulesName(folder, last+1)
		sealed, err := l.keys.SealBlob(kindRules, name, plain)
		if err != nil {
			return err
		}
		err = l.put(ctx, name, sealed)
		if errors.Is(err, fs.ErrExist) {
			continue // somebody else was first: these are the later ones
		}
		for _, o := range old {
			if err == nil {
				err = l.remote.Delete(ctx, o)
			}
		}
		if err != nil {
			return fmt.Errorf("set the rules of folder %s: %w", folder, err)
		}
		return nil
	}
	return fmt.Errorf("set the rules of folder %s: others change them all the time", folder)
}

// PutPin pins a snapshot. Pinning twice is no error.
func (l *Lines) PutPin(ctx context.Context, folder string, snapshot chunk.ID, by string) error {
	name := pinName(folder, snapshot)
	sealed, err := l.keys.SealBlob(kindPin, name, EncodePin(by))
	if err != nil {
		return err
	}
	if err := l.put(ctx, name, sealed); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("pin a snapshot of folder %s: %w", folder, err)
	}
	return nil
}

// DropPin takes a pin away; one that is not there is no error.
func (l *Lines) DropPin(ctx context.Context, folder string, snapshot chunk.ID) error {
	if err := l.remote.Delete(ctx, pinName(folder, snapshot)); err != nil {
		return fmt.Errorf("unpin a snapshot of folder %s: %w", folder, err)
	}
	return nil
}

// BumpAll gives every head an epoch of at least n: the step of a prune after its
// mark. A folder that is made meanwhile has read the marks after its head.
func (l *Lines) BumpAll(ctx context.Context, n uint64) error {
	for range maxRestarts {
		heads, err := l.Folders(ctx)
		if err != nil {
			return err // also of a damaged head: what it refers to is not known
		}
		heads = slices.DeleteFunc(heads, func(f Folder) bool { return f.Epoch >= n })
		if len(heads) == 0 {
			return nil
		}
		slices.SortFunc(heads, func(a, b Folder) int { return cmp.Compare(a.ID, b.ID) })
		for _, h := range heads {
			if _, err := l.Bump(ctx, h, n); err != nil && !errors.Is(err, ErrMoved) {
				return err
			}
		}
	}
	return fmt.Errorf("give the heads epoch %d: others move them all the time", n)
}
