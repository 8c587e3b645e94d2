//go:build linux

package sequence

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/folder"
)

// Node is everything of one path that machines must agree about.
type Node struct {
	kind, text, xattrs, link string
	mode                     uint32
	mtime                    time.Time
}

// TreeOf describes a directory but for its own time, and but for .versions.
func TreeOf(dir string) map[string]Node {
	out, inodes := map[string]Node{}, map[uint64]string{}
	p := &Program{dir: dir}
	_ = filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it has just gone
		}
		rel, _ := filepath.Rel(dir, at)
		if strings.HasPrefix(rel, folder.StagePrefix) || rel == ".versions" {
			return filepath.SkipDir
		}
		if rel == "." {
			rel = ""
		}
		t := p.look(rel)
		if t == nil {
			return nil
		}
		defer t.close()
		n := Node{kind: "file", text: t.text, mode: t.st.Mode & 0o7777, mtime: time.Unix(t.st.Mtim.Sec, t.st.Mtim.Nsec).UTC()}
		buf := make([]byte, 64)
		if size, err := unix.Lgetxattr(at, "user.colour", buf); err == nil {
			n.xattrs = string(buf[:size])
		}
		switch {
		case rel == "":
			n.kind, n.mtime = "dir", time.Time{}
		case t.dir():
			n.kind = "dir"
		case strings.HasPrefix(t.text, "-> "):
			n.kind = "symlink"
		}
		if n.kind != "dir" && t.st.Nlink > 1 {
			first, ok := inodes[t.st.Ino]
			if !ok {
				first = rel
				inodes[t.st.Ino] = rel
			}
			n.link = first
		}
		out[rel] = n
		return nil
	})
	// A link whose other name is in staging is none.
	names := map[string]int{}
	for _, n := range out {
		names[n.link]++
	}
	for path, n := range out {
		if n.link != "" && names[n.link] == 1 {
			n.link = ""
			out[path] = n
		}
	}
	return out
}

// Texts are the contents of files and symlinks.
func Texts(tree map[string]Node) map[string]string {
	out := map[string]string{}
	for path, n := range tree {
		if n.kind != "dir" {
			out[path] = n.text
		}
	}
	return out
}

// Unlike shows how two descriptions differ.
func Unlike(got, want map[string]Node) string {
	var out []string
	show := func(n Node) string {
		return fmt.Sprintf("%s %o %s %d bytes %.24q xattr %q link %q", n.kind, n.mode, n.mtime.Format("15:04:05.000000000"), len(n.text), n.text, n.xattrs, n.link)
	}
	for path, w := range want {
		if g, ok := got[path]; !ok {
			out = append(out, fmt.Sprintf("  %q is missing: %s", path, show(w)))
		} else if g != w {
			out = append(out, fmt.Sprintf("  %q is  %s\n  %*s not %s", path, show(g), len(fmt.Sprintf("%q", path)), "", show(w)))
		}
	}
	for path, g := range got {
		if _, ok := want[path]; !ok {
			out = append(out, fmt.Sprintf("  %q is too much: %s", path, show(g)))
		}
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}
