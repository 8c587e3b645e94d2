//go:build linux

package faults

import (
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/tests/world"
)

func TestTheLocalDatabaseIsDisposable(t *testing.T) {
	for _, tc := range []struct {
		name, says string
		harm       func(t *testing.T, dir string)
	}{
		{"missing", "database was missing", func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}},
		{"broken", "database was broken", func(t *testing.T, dir string) {
			harmed := 0
			err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() || e.Name() == "LOCK" {
					return err
				}
				noise := make([]byte, 4096)
				rand.Read(noise)
				harmed++
				return os.WriteFile(path, noise, 0o600)
			})
			if err != nil || harmed == 0 {
				t.Fatalf("%d files, %v", harmed, err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, h, dir := setUp(t, "", "")
			write(t, dir, "first", "changed")
			h.Run("flush")
			srv.Kill() // what is not sent must survive as well
			write(t, dir, "second", "second")
			world.Eventually(t, patience, "a version is taken", func() error { return has(dir, ".versions/latest/second", "second") })
			h.StopAgent()
			tc.harm(t, h.Path(".local/state/syncfs/db"))
			srv.Start()
			if out := h.Run("cat", "docs:first"); out != "changed" {
				t.Errorf("without an agent: %q", out)
			}
			tc.harm(t, h.Path(".local/state/syncfs/db"))
			h.StartAgent()
			safe(t, h)
			var s status
			h.JSON(&s, "status")
			if len(s.Notes) == 0 || !strings.Contains(strings.Join(s.Notes, "\n"), tc.says) {
				t.Errorf("notes %q, want %q", s.Notes, tc.says)
			}
			var list []struct{ Instant, Change string }
			h.JSON(&list, "versions", filepath.Join(dir, "first"))
			if len(list) != 2 || h.Run("cat", "docs:first@"+list[0].Instant) != "first" {
				t.Errorf("versions %v", list)
			}
			elsewhere(t, srv, map[string]string{"first": "changed", "second": "second"})
		})
	}
}

// noise are n random bytes.
func noise(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return string(b)
}

// small mounts a small disk.
func small(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	world.Sh(t, "/", `mkdir "$DIR" && mount -t tmpfs -o size="$SIZE" none "$DIR"`, "DIR="+dir, "SIZE="+size)
	t.Cleanup(func() { world.Sh(t, "/", `umount -l "$DIR"`, "DIR="+dir) })
	return dir
}

// The machine's own disk fills with what waits for a server.
func TestAFullDiskHere(t *testing.T) {
	state := small(t, "100M")
	srv := world.NewServer(t, "")
	h := world.NewHome(t, "")
	h.Env = append(h.Env, "XDG_STATE_HOME="+state)
	h.Init(srv)
	h.StartAgent()
	dir := filepath.Join(t.TempDir(), "docs")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", dir)
	want := map[string]string{"first": noise(10 << 20)}
	write(t, dir, "first", want["first"])
	h.Run("flush")
	srv.Kill()
	for i := range 4 {
		name := fmt.Sprintf("large%d", i)
		want[name] = noise(30 << 20)
		write(t, dir, name, want[name])
	}
	world.Eventually(t, patience, "status says that not everything is protected", func() error {
		out, _, code := h.Try("status")
		if code != 3 || !strings.Contains(out, " unprotected ") {
			return fmt.Errorf("exit code %d\n%s", code, out)
		}
		return nil
	})
	for name, content := range want {
		if err := has(dir, name, content); err != nil {
			t.Error(err)
		}
	}
	srv.Start()
	safe(t, h)
	elsewhere(t, srv, want)
	h.Run("check", "--read-data")
}

func TestAFullDiskOfTheServer(t *testing.T) {
	data := small(t, "48M")
	srv, h, dir := setUp(t, filepath.Join(data, "server"), "")
	want := map[string]string{"first": "first"}
	for i := range 3 {
		name := fmt.Sprintf("large%d", i)
		want[name] = noise(24 << 20)
		write(t, dir, name, want[name])
	}
	_, errs, code := h.Try("flush", "--timeout", "20s")
	if code == 0 || !strings.Contains(errs, "no space left") {
		t.Errorf("flush: exit code %d\n%s", code, errs)
	}
	out, _, code := h.Try("status")
	if code == 0 || !strings.Contains(out, "no space left") {
		t.Errorf("status: exit code %d\n%s", code, out)
	}
	if err := has(dir, ".versions/latest/large2", want["large2"]); err != nil {
		t.Error(err)
	}
	elsewhere(t, srv, map[string]string{"first": "first"})
	world.Sh(t, "/", `mount -o remount,size=500M "$DIR"`, "DIR="+data)
	safe(t, h)
	elsewhere(t, srv, want)
	h.Run("check", "--read-data")
}
