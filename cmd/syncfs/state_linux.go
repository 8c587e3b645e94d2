package main

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/fs"
)

// stateOf tells what of a file in an on-demand folder is here; "" when nobody
// says so.
func stateOf(path string) string {
	buf := make([]byte, 32)
	n, err := unix.Lgetxattr(path, fs.StateXattr, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// stateBelow is stateOf for what was listed of a place in a folder.
func stateBelow(s seen, name string) string {
	if !s.place.Folder.OnDemand || s.when != nil || s.place.At != nil {
		return ""
	}
	return stateOf(filepath.Join(s.place.Folder.Path, s.place.Rel, name))
}
