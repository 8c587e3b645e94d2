package folder

import (
	"testing"

	"github.com/syncfs/syncfs/versions"
)

// Each attribute is carried for itself: what the disk still shows as it did was
// not changed here.
func TestOnlyWhatTheDiskStillShowsIsCarried(t *testing.T) {
	entry := versions.Entry{
		Kind: versions.File, Mode: 0o750, UID: 7, User: "anna", GID: 8, Group: "staff", MTime: 1_500_000_001, Link: [16]byte{9},
		Xattrs: []versions.Xattr{{Name: "user.a", Value: []byte("1")}, {Name: "user.b", Value: []byte("2")}},
	}
	shown := versions.Entry{Kind: versions.File, Mode: 0o777, UID: 0, User: "root", MTime: 1_000_000_000}
	if e, seen := carry(entry, shown, shown); !versions.SameAttributes(e, entry) || seen == nil || !versions.SameAttributes(*seen, shown) {
		t.Errorf("unchanged it is %+v, shown %+v", e, seen)
	}
	cases := []struct {
		name   string
		change func(d, want *versions.Entry)
	}{
		{"mode", func(d, want *versions.Entry) { d.Mode, want.Mode = 0o600, 0o600 }},
		{"owner", func(d, want *versions.Entry) { d.UID, d.User, want.UID, want.User = 5, "eva", 5, "eva" }},
		{"group", func(d, want *versions.Entry) { d.GID, d.Group, want.GID, want.Group = 5, "eva", 5, "eva" }},
		{"time", func(d, want *versions.Entry) { d.MTime, want.MTime = 2e9, 2e9 }},
		{"an attribute more", func(d, want *versions.Entry) {
			d.Xattrs = []versions.Xattr{{Name: "user.c", Value: []byte("3")}}
			want.Xattrs = append(want.Xattrs[:2:2], d.Xattrs...)
		}},
		{"another attribute", func(d, want *versions.Entry) {
			d.Xattrs = []versions.Xattr{{Name: "user.a", Value: []byte("3")}}
			want.Xattrs = []versions.Xattr{d.Xattrs[0], want.Xattrs[1]}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, want := shown, entry
			c.change(&d, &want)
			e, seen := carry(entry, shown, d)
			if !versions.SameAttributes(e, want) {
				t.Errorf("it is %+v, want %+v", e, want)
			}
			if seen == nil || !versions.SameAttributes(*seen, d) {
				t.Errorf("the disk shows %+v, want %+v", seen, d)
			}
		})
	}
	if e, seen := carry(entry, shown, entry); !versions.SameAttributes(e, entry) || seen != nil {
		t.Errorf("held by the disk it is %+v, shown %+v", e, seen)
	}
}
