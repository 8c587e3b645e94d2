//go:build linux

package world

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Describe returns a line for everything below dir: type, mode, owner, time,
// size, link target, extended attributes, content, and which names are one
// file. Two trees are the same when their descriptions are.
func Describe(t testing.TB, dir string) string { return describe(t, dir, "", true) }

// DescribeBut leaves one path out.
func DescribeBut(t testing.TB, dir, but string) string { return describe(t, dir, but, true) }

// DescribeContent leaves times out.
func DescribeContent(t testing.TB, dir string) string { return describe(t, dir, "", false) }

func describe(t testing.TB, dir, but string, times bool) string {
	t.Helper()
	lines, err := TryDescribe(dir, but, times)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TryDescribe is Describe for a tree that may still be changing; but is a path
// to leave out, times whether times count.
func TryDescribe(dir, but string, times bool) (string, error) {
	links := map[uint64]string{}
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if rel == ".versions" {
			return filepath.SkipDir
		}
		if but != "" && rel == but {
			return nil
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%q %o %d:%d", rel, st.Mode, st.Uid, st.Gid)
		if times && rel != "." {
			line += fmt.Sprintf(" %d.%09d", st.Mtim.Sec, st.Mtim.Nsec)
		}
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			sum, err := hashFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %s", st.Size, sum)
			if st.Nlink > 1 {
				if first, ok := links[st.Ino]; ok {
					line += " same file as " + first
				} else {
					links[st.Ino] = rel
				}
			}
		case syscall.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" -> %q", target)
		}
		line += xattrs(path)
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		return "", err
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n", nil
}

func hashFile(path string) (string, error) {
	data, err := os.ReadFile(path)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8]), err
}

func xattrs(path string) string {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return ""
	}
	names := strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00")
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		if strings.HasPrefix(name, "user.syncfs.") {
			continue // our own marks
		}
		value := make([]byte, 64<<10)
		if n, err := unix.Lgetxattr(path, name, value); err == nil {
			fmt.Fprintf(&b, " %s=%x", name, value[:n])
		}
	}
	return b.String()
}

// SameTree fails the test with the first differences between two trees.
func SameTree(t testing.TB, got, want string) {
	t.Helper()
	if diff := Differences(Describe(t, got), Describe(t, want)); diff != "" {
		t.Fatalf("%s is not the same as %s:\n%s", got, want, diff)
	}
}

// Differences shows the first lines in which two descriptions differ.
func Differences(a, b string) string {
	got, want := strings.Split(a, "\n"), strings.Split(b, "\n")
	have := map[string]bool{}
	for _, l := range want {
		have[l] = true
	}
	var out []string
	for _, l := range got {
		if !have[l] {
			out = append(out, "got  "+l)
		}
		delete(have, l)
	}
	for l := range have {
		out = append(out, "want "+l)
	}
	sort.Slice(out, func(i, j int) bool { return out[i][5:] < out[j][5:] })
	if len(out) > 20 {
		out = append(out[:20], fmt.Sprintf("… and %d more", len(out)-20))
	}
	return strings.Join(out, "\n")
}
