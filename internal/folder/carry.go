package folder

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// What a disk or this user cannot hold of an entry's attributes - another's
// owner, modes on vfat, extended attributes, the odd second - is carried: beside
// the entry its record keeps what the disk shows instead. As long as it still
// shows that, nobody here has changed the attribute, and the entry keeps its
// own; so what another machine set survives an edit on this one.

// attributesOf is the part of an entry that is compared so.
func attributesOf(e versions.Entry) versions.Entry {
	return versions.Entry{
		Kind: versions.File, Mode: e.Mode, UID: e.UID, GID: e.GID, User: e.User, Group: e.Group,
		MTime: e.MTime, Link: e.Link, Xattrs: e.Xattrs,
	}
}

// carry is d, read from the disk, with those attributes of o, the entry that was
// recorded, of which d shows what s, read back then, showed. seen is what to
// record beside it; nil: the disk shows all of it.
func carry(o, s, d versions.Entry) (e versions.Entry, seen *versions.Entry) {
	e = d
	if d.Mode == s.Mode {
		e.Mode = o.Mode
	}
	if d.UID == s.UID && d.User == s.User {
		e.UID, e.User = o.UID, o.User
	}
	if d.GID == s.GID && d.Group == s.Group {
		e.GID, e.Group = o.GID, o.Group
	}
	if d.MTime == s.MTime {
		e.MTime = o.MTime
	}
	if d.Link == s.Link {
		e.Link = o.Link
	}
	e.Xattrs = carryXattrs(o, s, d)
	if shows := attributesOf(d); !versions.SameAttributes(attributesOf(e), shows) {
		seen = &shows
	}
	return e, seen
}

func carryXattrs(o, s, d versions.Entry) []versions.Xattr {
	var out []versions.Xattr
	add := func(from *versions.Entry, name string) {
		if value, ok := from.Xattr(name); ok && !slices.ContainsFunc(out, func(x versions.Xattr) bool { return x.Name == name }) {
			out = append(out, versions.Xattr{Name: name, Value: value})
		}
	}
	for _, list := range [][]versions.Xattr{d.Xattrs, o.Xattrs} {
		for _, x := range list {
			was, known := s.Xattr(x.Name)
			is, there := d.Xattr(x.Name)
			if known == there && bytes.Equal(was, is) {
				add(&o, x.Name)
			} else {
				add(&d, x.Name)
			}
		}
	}
	slices.SortFunc(out, func(a, b versions.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// carried is carry for what stands where prev was recorded; nil: nothing was.
func (b *build) carried(prev *child, d versions.Entry) (versions.Entry, *versions.Entry, error) {
	if prev == nil || prev.seen == nil && !b.weak {
		return d, nil, nil
	}
	o, err := prev.entry()
	if err != nil || o.Kind != d.Kind {
		return d, nil, err
	}
	s := o
	if prev.seen != nil {
		if s, err = decodeSeen(prev.seen); err != nil {
			return d, nil, err
		}
	}
	e, seen := b.carry(o, s, d)
	return e, seen, nil
}

// coarse is how exactly the worst of disks keep a time.
const coarse = 2 * time.Second

// carry is carry; a weak disk may show another time once it has forgotten the
// exact one.
func (b *build) carry(o, s, d versions.Entry) (versions.Entry, *versions.Entry) {
	apart := time.Duration(d.MTime - o.MTime).Abs()
	if b.weak && apart <= coarse && (o.Kind == versions.Dir || versions.SameContent(o, d)) {
		s.MTime = d.MTime
	}
	return carry(o, s, d)
}

func decodeSeen(b []byte) (versions.Entry, error) {
	s, rest, err := versions.DecodeEntry(b)
	if err == nil && len(rest) > 0 {
		err = errRecord
	}
	return s, err
}

// seenAs is what the disk shows of an entry that was just put there, with the
// signature sig, where that is not what the entry says; name "" is the
// directory itself.
func (f *Folder) seenAs(dir *disk.Dir, name string, e versions.Entry, sig disk.Sig) *versions.Entry {
	look := func() (disk.Stat, error) {
		if name == "" {
			return dir.Self()
		}
		return dir.Stat(name)
	}
	st, err := look()
	if err != nil || name != "" && !st.Same(sig) {
		return nil // it is read again
	}
	linked := e.Link == [16]byte{} || st.Links > 1
	if linked && st.Mode&0o7777 == e.Mode && st.MTime == e.MTime && st.UID == e.UID && st.GID == e.GID &&
		f.o.Owners.User(st.UID) == e.User && f.o.Owners.Group(st.GID) == e.Group && len(e.Xattrs) == 0 {
		return nil
	}
	var d versions.Entry
	if name == "" {
		d, _, _, err = dir.SelfEntry(f.o.Owners)
	} else {
		d, _, _, err = dir.Entry(name, f.o.Owners)
	}
	if err != nil {
		return nil
	}
	if linked {
		d.Link = e.Link
	}
	shows := attributesOf(d)
	if versions.SameAttributes(shows, attributesOf(e)) {
		return nil
	}
	return &shows
}

// lostOf is what a name in a directory without a record was; nil: nothing, or
// it has a record. The zero task stands for what holds the root.
func (b *build) lostOf(t *task, name string) (*versions.Entry, error) {
	if b.o.Was == nil {
		return nil, nil
	}
	if t == nil {
		return b.o.Was("")
	}
	// A directory that is new has nothing in it that was lost.
	if dir, err := b.lostDir(t); err != nil || dir == nil {
		return nil, err
	}
	return b.o.Was(join(t.path, name))
}

// lostDir is what a directory was whose record is lost; nil: it has one, or was
// none.
func (b *build) lostDir(t *task) (*versions.Entry, error) {
	if t.record != nil || b.o.Was == nil {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.asked {
		was, err := b.o.Was(t.path)
		if err != nil {
			return nil, err
		}
		if was != nil && was.Kind == versions.Dir {
			t.was = was
		}
		t.asked = true
	}
	return t.was, nil
}

// lostAttributes is carry for what was recorded, but whose record is lost: on a
// disk that holds hardly any attributes, and for a user who cannot set owners,
// what they are now says nothing, as long as the content is what it was.
func (b *build) lostAttributes(t *task, name string, d versions.Entry) (versions.Entry, *versions.Entry, error) {
	o, err := b.lostOf(t, name)
	if err != nil || o == nil || o.Kind != d.Kind || d.Kind != versions.Dir && !versions.SameContent(*o, d) {
		return d, nil, err
	}
	s := attributesOf(d)
	if !b.weak {
		if os.Geteuid() == 0 {
			return d, nil, nil
		}
		// All but the owner counts as changed here.
		s.Mode, s.MTime, s.Link, s.Xattrs = ^d.Mode, ^d.MTime, [16]byte{1}, nil
	}
	e, seen := carry(*o, s, d)
	return e, seen, nil
}
