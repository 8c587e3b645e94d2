//go:build linux

package world

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Docker is a Docker daemon of the test's own, with nothing in it: no network,
// and its data in a directory that goes with the test.
type Docker struct {
	Socket string
	t      testing.TB
	daemon *exec.Cmd
	done   chan struct{}
	log    string
}

// NewDocker starts a daemon and ends it with the test.
func NewDocker(t testing.TB) *Docker {
	t.Helper()
	// A socket's path is short, whatever the test's name is.
	dir, err := os.MkdirTemp("", "docker-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Docker{Socket: filepath.Join(dir, "sock"), t: t, done: make(chan struct{}), log: filepath.Join(dir, "log")}
	log, err := os.Create(d.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d.daemon = exec.Command("dockerd", "--host", "unix://"+d.Socket, "--data-root", filepath.Join(dir, "data"),
		"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
		"--log-level=warn", "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
	d.daemon.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	d.daemon.Stdout, d.daemon.Stderr = log, log
	d.daemon.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.daemon.Wait(); close(d.done) }()
	t.Cleanup(func() { d.end(dir) })
	Eventually(t, 2*time.Minute, "the Docker daemon answers", func() error {
		select {
		case <-d.done:
			text, _ := os.ReadFile(d.log)
			t.Fatalf("the Docker daemon ended:\n%s", tail(text))
		default:
		}
		_, err := d.Try("version")
		return err
	})
	return d
}

// end removes the containers and ends the daemon.
func (d *Docker) end(dir string) {
	if d.t.Failed() {
		if text, err := os.ReadFile(d.log); err == nil {
			d.t.Logf("Docker daemon:\n%s", tail(text))
		}
	}
	if all, err := d.Try("ps", "-aq"); err == nil {
		if ids := strings.Fields(all); len(ids) > 0 {
			_, _ = d.Try(append([]string{"rm", "-f", "-v"}, ids...)...)
		}
	}
	_ = d.daemon.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
	case <-time.After(time.Minute):
		d.t.Error("the Docker daemon did not end")
		_ = syscall.Kill(-d.daemon.Process.Pid, syscall.SIGKILL)
		<-d.done
	}
	if err := os.RemoveAll(dir); err != nil {
		d.t.Errorf("remove what the Docker daemon left: %v", err)
	}
}

// Command is a call of docker, not started.
func (d *Docker) Command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST=unix://"+d.Socket)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Try calls docker; what it prints is in the error as well.
func (d *Docker) Try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := d.Command(ctx, args...).CombinedOutput()
	text := string(bytes.TrimSpace(out))
	if err != nil {
		return text, errors.New(err.Error() + ": " + text)
	}
	return text, nil
}

// Run calls docker, which must succeed.
func (d *Docker) Run(args ...string) string {
	d.t.Helper()
	out, err := d.Try(args...)
	if err != nil {
		d.t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Import makes an image of a tar archive of a root directory.
func (d *Docker) Import(archive, name string) {
	d.t.Helper()
	d.Run("import", archive, name)
}

// Debian is the archive of a Debian system with the given packages, made once
// and then kept in the user's cache directory. Nothing of it is started.
func Debian(t testing.TB, packages ...string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "syncfs-tests")
	archive := filepath.Join(dir, "debian-"+debianSuite+"-"+strings.Join(packages, "-")+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// In memory: dpkg syncs every file that it writes.
	root := t.TempDir()
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "size=2g,mode=755"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Unmount(root, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include="+strings.Join(packages, ","), debianSuite, root)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("debootstrap: %v\n%s", err, tail(out))
	}
	partial := archive + ".partial"
	Sh(t, root, `rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/*; tar -c --one-file-system -f "$OUT" .`, "OUT="+partial)
	if err := os.Rename(partial, archive); err != nil {
		t.Fatal(err)
	}
	return archive
}

// debianSuite is what the tests run on, whatever they are run on.
const debianSuite = "bookworm"
