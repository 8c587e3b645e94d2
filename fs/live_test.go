//go:build linux

package fs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/disk"
)

// The test binary is its own applier child and its own mount process.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case "__apply":
			if err := fs.ApplierMain(context.Background(), os.NewFile(3, "agent"), os.Args[2]); err != nil {
				fmt.Fprintln(os.Stderr, "apply:", err)
				os.Exit(1)
			}
			return
		case "__mount":
			if err := mountProcess(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "mount:", err)
				os.Exit(1)
			}
			return
		}
	}
	if len(os.Args) > 2 && os.Args[1] == "__helper" {
		if err := helper(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// answerPoll lets another process make the first poll request, after which the
// kernel makes no more. The tests' process both serves and uses the mount; Go's
// runtime polls each file that it opens, and cannot answer meanwhile. (The
// agent uses none of its mounts.)
func answerPoll(t testing.TB, dir string) {
	t.Helper()
	file := dir + "/poll"
	cmd := exec.Command("sh", "-c", `: >"$1" && "$0" __helper poll <"$1" && rm "$1"`, os.Args[0], file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// mountProcess mounts a folder and serves it until its standard input ends.
func mountProcess(args []string) error {
	if abs, err := filepath.Abs(args[0]); err == nil {
		args[0] = abs
	}
	root, err := disk.OpenRoot(args[0])
	if err != nil {
		return err
	}
	l, err := fs.MountLive(context.Background(), fs.LiveOptions{
		Root: root, MountPoint: args[0], Folder: "test",
		Passthrough: len(args) > 1 && args[1] == "pass", AllowOther: len(args) < 3,
	})
	if err != nil {
		return err
	}
	fmt.Println("mounted")
	os.Stdin.Read(make([]byte, 1))
	if err := l.Unmount(); err != nil {
		return err // it is served on, and nobody would end it
	}
	l.Wait()
	return nil
}

// recorder notes what the mount tells of changes.
type recorder struct {
	mu      sync.Mutex
	changed map[string]int
	renamed [][2]string
}

func (r *recorder) Changed(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = map[string]int{}
	}
	r.changed[path]++
}

func (r *recorder) Renamed(from, to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renamed = append(r.renamed, [2]string{from, to})
}

func (r *recorder) count(path string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed[path]
}

// mounted is a folder under test.
type mounted struct {
	*fs.Live
	dir  string     // the mount
	disk *disk.Root // below it
	log  *recorder
}

type option func(*fs.LiveOptions)

func passthrough(on bool) option { return func(o *fs.LiveOptions) { o.Passthrough = on } }

// mountAt mounts dir over itself for the length of a test.
func mountAt(t testing.TB, dir string, options ...option) *mounted {
	t.Helper()
	root, err := disk.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := &mounted{dir: dir, disk: root, log: &recorder{}}
	o := fs.LiveOptions{
		Root: root, MountPoint: dir, Folder: "test folder", Changes: m.log,
		AllowOther: true, Passthrough: true, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, f := range options {
		f(&o)
	}
	if m.Live, err = fs.MountLive(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := m.Unmount()
		var held *fs.HeldError
		if errors.As(err, &held) {
			t.Errorf("unmount: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
		waited := make(chan struct{})
		go func() { m.Wait(); close(waited) }()
		select {
		case <-waited:
		case <-time.After(20 * time.Second):
			t.Fatal("the mount does not end")
		}
		root.Close()
	})
	answerPoll(t, dir)
	return m
}

// eachMode runs a test with files passed through and served.
func eachMode(t *testing.T, f func(t *testing.T, m *mounted)) {
	for _, pass := range []bool{true, false} {
		name := "served"
		if pass {
			name = "passed"
		}
		t.Run(name, func(t *testing.T) { f(t, mountAt(t, workDir(t), passthrough(pass))) })
	}
}

// workDir is a directory that other users can reach.
func workDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "syncfs-live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "folder")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	return sub
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}
