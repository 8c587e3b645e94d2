//go:build linux

// Package container_test runs container backups against a real engine, real
// databases and a real web application.
package container_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// image is what all containers of these tests run, each another program of it.
const image = "syncfs-test:1"

// engine is a container engine of the tests' own, in namespaces of its own: what
// it does to networks and mounts ends with it, and so do its containers.
type engine struct {
	dir   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
}

// host is the engine that all tests of this package share.
var host engine

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	archive, err := rootfs()
	if err == nil {
		err = host.start()
		defer host.stop()
	}
	if err == nil {
		err = host.load(archive)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "container engine for the tests:", err)
		return 1
	}
	return m.Run()
}

func (e *engine) socket() string { return "unix://" + filepath.Join(e.dir, "docker.sock") }

// start tries more than once: on a busy machine the engine gives up on its own
// containerd after a quarter of a minute.
func (e *engine) start() (err error) {
	for range 5 {
		if err = e.startOnce(); err == nil {
			return nil
		}
		e.stop()
	}
	return err
}

func (e *engine) startOnce() (err error) {
	// On a disk, not where /tmp may be memory or an overlay.
	if e.dir, err = os.MkdirTemp("/var/tmp", "syncfs-engine-"); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(e.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	at := func(name string) string { return filepath.Join(e.dir, name) }
	e.cmd = exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
		`ip link set lo up && exec dockerd "$@"`, "sh",
		"--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("docker.pid"), "-H", e.socket(), "--bridge", "none")
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if err := e.cmd.Start(); err != nil {
		return err
	}
	e.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { _ = cmd.Wait(); close(ended) }(e.cmd, e.ended)
	for {
		if _, err = e.docker("", "version"); err == nil {
			return nil
		}
		select {
		case <-e.ended:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("the engine has ended: %s", said[max(0, len(said)-4000):])
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// stop ends the engine with all that it runs.
func (e *engine) stop() {
	if e.ended != nil {
		// Containers first: so their cgroups and mounts go as usual.
		if ids, err := e.docker("", "ps", "-aq"); err == nil && ids != "" {
			_, _ = e.docker("", append([]string{"rm", "-f"}, strings.Fields(ids)...)...)
		}
		_ = e.cmd.Process.Kill()
		<-e.ended
		e.ended = nil
	}
	for range 50 { // what it has mounted goes with its last process
		if os.RemoveAll(e.dir) == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// docker runs the docker command.
func (e *engine) docker(stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.socket(), "DOCKER_CONFIG="+e.dir)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("docker %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

func (e *engine) load(archive string) error {
	_, err := e.docker("", "import", archive, image)
	return err
}

// left is what the image does without: documentation, caches, what only
// compilers need.
var left = []string{
	"./usr/share/doc", "./usr/share/man", "./usr/share/locale", "./usr/share/info", "./var/cache", "./var/lib/apt", "./dev/*",
	"./var/lib/postgresql/*", "./var/lib/mysql/*", "./usr/lib/*/libLLVM*", "./usr/lib/*/libz3*", "./usr/lib/postgresql/*/lib/bitcode",
}

// rootfs makes the image's files once on a machine: a Debian with the programs of
// all containers. It is kept in the user's cache.
func rootfs() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = "/var/tmp"
	}
	dir := filepath.Join(cache, "syncfs-tests")
	archive := filepath.Join(dir, "containers-1.tar")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	root, err := os.MkdirTemp("/var/tmp", "syncfs-rootfs-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(root)
	begun := time.Now()
	fmt.Println("making the image of the tests with debootstrap: this takes a few minutes, once")
	for try := 0; ; try++ { // a mirror may be busy
		err = tool("debootstrap", "--variant=minbase", "--include=postgresql-15,redis-server,php-cli,php-pgsql,mariadb-server-core,mariadb-client",
			"bookworm", root, "http://deb.debian.org/debian")
		if err == nil || try == 2 {
			break
		}
		if rerr := os.RemoveAll(root); rerr != nil {
			return "", errors.Join(err, rerr)
		}
	}
	if err != nil {
		return "", err
	}
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(root, "usr/local/bin", name), []byte(script), 0o755); err != nil {
			return "", err
		}
	}
	args := []string{"-C", root}
	for _, path := range left {
		args = append(args, "--exclude="+path)
	}
	if err := tool("tar", append(args, "-cf", archive+".new", ".")...); err != nil {
		return "", err
	}
	fmt.Printf("the image took %.0f s\n", time.Since(begun).Seconds())
	return archive, os.Rename(archive+".new", archive)
}

func tool(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-4000):])
	}
	return nil
}

// programs start the servers as the official images do.
var programs = map[string]string{
	"run-postgres": `#!/bin/sh
# At the first start a server without a network makes the database; then the real
# one begins.
set -e
PATH=/usr/lib/postgresql/15/bin:$PATH
: "${PGDATA:=/var/lib/postgresql/data}" "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
as() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
mkdir -p "$PGDATA" /run/postgresql
chown postgres:postgres "$PGDATA" /run/postgresql
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
	printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/pw
	chown postgres /tmp/pw
	as initdb -N -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/pw --auth-local=${AUTH_LOCAL:-trust} --auth-host=scram-sha-256 >/dev/null
	rm /tmp/pw
	echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
	as pg_ctl -D "$PGDATA" -w -o "-c listen_addresses='' -c fsync=off" start >/dev/null
	export PGPASSWORD="$POSTGRES_PASSWORD"
	[ "$POSTGRES_DB" = postgres ] || psql -qw -U "$POSTGRES_USER" -d postgres -c "create database \"$POSTGRES_DB\""
	as pg_ctl -D "$PGDATA" -w -m fast stop >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --clear-groups postgres -D "$PGDATA" -c listen_addresses='*' -c fsync=off
`,
	"run-mariadb": `#!/bin/sh
set -e
id mysql >/dev/null 2>&1 || useradd -r mysql
mkdir -p /var/lib/mysql /run/mysqld
chown mysql:mysql /var/lib/mysql /run/mysqld
if [ ! -d /var/lib/mysql/mysql ]; then
	mariadb-install-db --user=mysql --datadir=/var/lib/mysql --auth-root-authentication-method=normal --skip-test-db >/dev/null
	printf "alter user root@localhost identified by '%s';\n" "$MARIADB_ROOT_PASSWORD" >/tmp/init.sql
	chmod 644 /tmp/init.sql
	exec mariadbd --user=mysql --bind-address=0.0.0.0 --innodb-log-file-size=8M --init-file=/tmp/init.sql
fi
exec mariadbd --user=mysql --bind-address=0.0.0.0 --innodb-log-file-size=8M
`,
}

// docker runs the docker command, which must succeed.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := host.docker("", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dockerIn is docker with something on its standard input.
func dockerIn(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	out, err := host.docker(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// home is a machine with a repository of its own.
func home(t testing.TB) *world.Home {
	t.Helper()
	h := world.NewHome(t, "")
	h.Env = append(h.Env, "DOCKER_HOST="+host.socket())
	h.Run("init", h.Path("repository"))
	return h
}
