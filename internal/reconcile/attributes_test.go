package reconcile_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// mergeOne merges one file with the attributes given by changes of the base.
func mergeOne(t *testing.T, o reconcile.Options, base, local, remote func(*versions.Entry)) versions.Entry {
	t.Helper()
	w := newWorld()
	root := func(change func(*versions.Entry)) versions.Entry {
		e := w.entry("f", "B")
		e.MTime = 100
		if change != nil {
			change(&e)
		}
		r, err := w.trees.Apply(t.Context(), versions.Entry{Kind: versions.Dir}, []versions.Edit{{Path: "f", Entry: &e}})
		return must(t, r, err)
	}
	merged, _ := w.merge(t, root(base), root(local), root(remote), o)
	e, err := w.trees.Lookup(t.Context(), merged.Tree, "f")
	return must(t, e, err)
}

func TestAttributesMergeOneByOne(t *testing.T) {
	acl := func(v string) []versions.Xattr {
		return []versions.Xattr{{Name: "system.posix_acl_access", Value: []byte(v)}}
	}
	user := func(pairs ...string) (list []versions.Xattr) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, versions.Xattr{Name: "user." + pairs[i], Value: []byte(pairs[i+1])})
		}
		return list
	}
	type change = func(*versions.Entry)
	tests := []struct {
		name                string
		base, local, remote change
		check               func(versions.Entry) any
		want                any
	}{
		{"mode here, owner there", nil,
			func(e *versions.Entry) { e.Mode = 0o600 }, func(e *versions.Entry) { e.UID, e.User = 7, "eve" },
			func(e versions.Entry) any { return []any{e.Mode, e.UID, e.User} }, []any{uint32(0o600), uint32(7), "eve"}},
		{"mode on both", nil,
			func(e *versions.Entry) { e.Mode = 0o600 }, func(e *versions.Entry) { e.Mode = 0o640 },
			func(e versions.Entry) any { return e.Mode }, uint32(0o640)},
		{"id and name of an owner are one", func(e *versions.Entry) { e.UID, e.User = 1, "a" },
			func(e *versions.Entry) { e.UID, e.User = 2, "a" }, func(e *versions.Entry) { e.UID, e.User = 1, "b" },
			func(e versions.Entry) any { return []any{e.UID, e.User} }, []any{uint32(1), "b"}},
		{"time of the edit here, mode there", nil,
			func(e *versions.Entry) { *e = newWorld().entry("f", "L"); e.MTime = 200 }, func(e *versions.Entry) { e.Mode, e.MTime = 0o600, 300 },
			func(e versions.Entry) any { return []any{e.MTime, e.Mode} }, []any{int64(200), uint32(0o600)}},
		{"time of the edit there, touched here", nil,
			func(e *versions.Entry) { e.MTime = 300 }, func(e *versions.Entry) { *e = newWorld().entry("f", "R"); e.MTime = 200 },
			func(e versions.Entry) any { return e.MTime }, int64(200)},
		{"touched here only", nil,
			func(e *versions.Entry) { e.MTime = 300 }, func(e *versions.Entry) { e.Mode = 0o600 },
			func(e versions.Entry) any { return []any{e.MTime, e.Mode} }, []any{int64(300), uint32(0o600)}},
		{"xattrs by name", func(e *versions.Entry) { e.Xattrs = user("gone", "1", "kept", "1", "mine", "1", "theirs", "1") },
			func(e *versions.Entry) { e.Xattrs = user("kept", "1", "mine", "2", "new", "l", "theirs", "1") },
			func(e *versions.Entry) {
				e.Xattrs = user("gone", "1", "kept", "1", "mine", "1", "more", "r", "theirs", "2")
			},
			func(e versions.Entry) any { return e.Xattrs }, user("kept", "1", "mine", "2", "more", "r", "new", "l", "theirs", "2")},
		{"mode and access ACL are one", func(e *versions.Entry) { e.Mode, e.Xattrs = 0o640, acl("b") },
			func(e *versions.Entry) { e.Mode, e.Xattrs = 0o660, acl("l") }, func(e *versions.Entry) { e.Mode, e.Xattrs = 0o640, acl("r") },
			func(e versions.Entry) any { return []any{e.Mode, e.Xattrs} }, []any{uint32(0o640), acl("r")}},
		{"a link comes with the content", nil,
			func(e *versions.Entry) { e.Link = [16]byte{1} }, func(e *versions.Entry) { *e = newWorld().entry("f", "R") },
			func(e versions.Entry) any { return e.Link }, [16]byte{}},
		{"a link made here", nil,
			func(e *versions.Entry) { e.Link = [16]byte{1} }, func(e *versions.Entry) { e.Mode = 0o600 },
			func(e versions.Entry) any { return []any{e.Link, e.Mode} }, []any{[16]byte{1}, uint32(0o600)}},
		{"unstable comes with the content", nil,
			func(e *versions.Entry) { *e = newWorld().entry("f", "L"); e.Unstable = true }, func(e *versions.Entry) { e.Mode = 0o600 },
			func(e versions.Entry) any { return e.Unstable }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.check(mergeOne(t, options, tt.base, tt.local, tt.remote))
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestContentThatOnlyReadingFindsEqualIsNoConflict(t *testing.T) {
	o := options
	asked := 0
	o.Same = func(_ context.Context, a, b versions.Entry) (bool, error) {
		asked++
		return len(a.Holes) != len(b.Holes), nil
	}
	sparse := func(e *versions.Entry) {
		*e = newWorld().entry("f", "LL")
		e.Size, e.Holes = 10, []versions.Range{{Offset: 2, Length: 8}}
	}
	dense := func(e *versions.Entry) { *e = newWorld().entry("f", "RRRRRRRRRR") }
	got := mergeOne(t, o, nil, sparse, dense)
	if asked == 0 || len(got.Holes) != 0 {
		t.Errorf("asked %d times, merged to %+v", asked, got)
	}
}

func TestAConflictCopyKeepsItsAttributesAndIsNoLink(t *testing.T) {
	w := newWorld()
	put := func(content string, mode uint32, link byte) versions.Entry {
		e := w.entry("f", content)
		e.Mode, e.Link, e.MTime = mode, [16]byte{link}, int64(mode)
		r, err := w.trees.Apply(t.Context(), versions.Entry{Kind: versions.Dir}, []versions.Edit{{Path: "f", Entry: &e}})
		return must(t, r, err)
	}
	root, plan := w.merge(t, put("B", 0o644, 1), put("L", 0o600, 1), put("R", 0o640, 1), options)
	e, err := w.trees.Lookup(t.Context(), root.Tree, plan.Conflicts[0].Copy)
	if must(t, e, err); e.Mode != 0o600 || e.MTime != 0o600 || e.Link != [16]byte{} {
		t.Errorf("%+v", e)
	}
}
