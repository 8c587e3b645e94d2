//go:build linux

package container_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// backupSummary is the last line of `container backup --json`.
type backupSummary struct {
	Instant  string `json:"instant"`
	Bytes    int64  `json:"bytes"`
	Sent     int64  `json:"bytes_sent"`
	Read     int64  `json:"bytes_read"`
	Dumps    int    `json:"dumps"`
	Warnings int    `json:"warnings"`
}

func backup(t testing.TB, h *world.Home, args ...string) (s backupSummary) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(h.Run(append([]string{"container", "backup", "--json"}, args...)...)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func (p project) running() string {
	return docker(p.t, "ps", "--filter", "label=com.docker.compose.project="+p.name, "--filter", "status=running", "--format", "{{.Names}}")
}

func TestAProjectIsRemovedAndComesBackAsItWas(t *testing.T) {
	p, h := shop(t, "shop"), home(t)
	before := p.state()

	// A client writes all the while.
	ctx, stop := context.WithCancel(t.Context())
	var clicks atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if _, err := host.docker("", "exec", p.container("db"), "psql", "-qU", "shop", "-d", "shop", "-c", "insert into clicks(what) values('click')"); err == nil {
				clicks.Add(1)
			}
		}
	}()
	first := backup(t, h, "shop", "--tag", "v1")
	stop()
	<-ended
	if clicks.Load() == 0 {
		t.Error("nobody wrote while the backup ran: it shows nothing")
	}
	if first.Dumps != 5 || first.Warnings != 0 {
		t.Errorf("%d dumps, %d warnings, want 5 and none", first.Dumps, first.Warnings)
	}
	for service := range map[string]bool{"db": true, "cache": true, "wiki": true, "web": true} {
		if !strings.Contains(p.running(), p.container(service)) {
			t.Errorf("%s does not run after the backup", service)
		}
	}

	second := backup(t, h, "shop", "--name", "before_the_fire")
	if second.Sent > first.Sent/20 || second.Read > first.Bytes/100 {
		t.Errorf("the second backup sent %d bytes and read %d of volumes; the first sent %d", second.Sent, second.Read, first.Sent)
	}
	var list []struct {
		Instant, Name, Restore string
		Tags, Databases        []string
		Size, New              int64
	}
	h.JSON(&list, "container", "list", "shop")
	if len(list) != 2 || list[0].Tags[0] != "v1" || list[1].Name != "before_the_fire" || list[1].New > list[1].Size/50 || len(list[0].Databases) != 3 {
		t.Errorf("the list is %+v", list)
	}
	if out := h.Run("container", "show", "shop"); !strings.Contains(out, "databases/shop-db-1/shop.sql") || !strings.Contains(out, "held (pause)") {
		t.Errorf("show says\n%s", out)
	}
	h.Run("container", "verify", "shop@"+first.Instant)
	checkMount(t, h, first.Instant)

	// A drill leaves nothing, and no bad backup passes one.
	if out := h.Run("container", "verify", "shop", "--drill"); !strings.Contains(out, "database shop imported") || !strings.Contains(out, "volume shop_uploads: ") {
		t.Errorf("the drill says\n%s", out)
	}
	nothingOf(t, "drill")

	p.remove()
	docker(t, "rmi", "-f", image)
	t.Cleanup(func() { docker(t, "image", "inspect", image) }) // the other tests need it
	if out := h.Run("container", "restore", "shop@before_the_fire"); !strings.Contains(out, "load image "+image) {
		t.Errorf("the image was not loaded:\n%s", out)
	}
	after := p.state()
	for what, was := range before {
		if after[what] != was {
			t.Errorf("%s: after the restore\n%s\nbefore\n%s", what, after[what], was)
		}
	}
	if got := docker(t, "inspect", "-f", `{{index .Config.Labels "com.docker.compose.service"}} {{.Config.Image}} {{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}`, p.container("web")); got != "web "+image+" 8080" {
		t.Errorf("the container is described as %q", got)
	}

	// Once more, beside itself, and over itself.
	other := newProject(t, "shop-test")
	if out := h.Run("container", "restore", "shop", "--as", "shop-test"); !strings.Contains(out, "port shop-test-web-1 80/tcp -> ") {
		t.Errorf("the new port is not told:\n%s", out)
	}
	if page := other.page(); page != before["page"] {
		t.Errorf("the copy shows\n%s", page)
	}
	if p.sql("delete from orders; select 1"); p.page() == before["page"] {
		t.Error("the copy and the original share a database")
	}
	_, errs, code := h.Try("container", "restore", "shop")
	if code != 1 || !strings.Contains(errs, "--yes") || !strings.Contains(errs, "shop-db-1") {
		t.Errorf("a restore over a running project without a word: exit code %d\n%s", code, errs)
	}
	h.Run("container", "restore", "shop", "--only", "db,web", "--yes")
	if page := p.page(); page != before["page"] {
		t.Errorf("after a restore of two services the page is\n%s", page)
	}
}

// nothingOf fails where the engine has something with this in its name.
func nothingOf(t *testing.T, part string) {
	t.Helper()
	for _, what := range [][]string{{"ps", "-a", "--format", "{{.Names}}"}, {"volume", "ls", "-q"}, {"network", "ls", "--format", "{{.Name}}"}} {
		if list := docker(t, what...); strings.Contains(list, part) {
			t.Errorf("docker %s: %s", what[0], list)
		}
	}
}

// checkMount looks at a backup as any program sees it.
func checkMount(t *testing.T, h *world.Home, instant string) {
	t.Helper()
	at := filepath.Join(t.TempDir(), "backups")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	h.Run("mount", "shop", at, "--detach")
	defer h.Run("umount", at)
	out := world.Sh(t, filepath.Join(at, ".versions", instant), `sha256sum --strict -c backup_manifest.txt | grep -c ': OK$'
find . -type f ! -name backup_manifest.txt | wc -l
ls`)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) < 3 || lines[0] == "0" {
		t.Fatalf("sha256sum says %q", out)
	}
	for _, name := range []string{"backup_manifest.txt", "config", "container_info.json", "databases", "docker-compose.yml", "environment_snapshot.txt", "images", "volumes"} {
		if !strings.Contains(out, name) {
			t.Errorf("%s is missing in the mount:\n%s", name, out)
		}
	}
	if got := world.Sh(t, filepath.Join(at, "config"), "cat compose.env"); got != "SHOP_TOKEN=t0ken\n" {
		t.Errorf("the project's .env is %q", got)
	}
	// Images are a layout that docker load takes: see TestAnExportIsOfUseWithoutUs.
	world.Sh(t, filepath.Join(at, "images"), `grep -q '"RepoTags":\["`+image+`"\]' manifest.json && cat oci-layout index.json >/dev/null`)
}

func TestWhatABackupHasPausedRunsAgainAfterAKill(t *testing.T) {
	p, h := newProject(t, "held"), home(t)
	p.network()
	p.run("paused", []string{"a:/a"}, image, "sleep", "infinity")
	p.run("stopped", []string{"b:/b"}, "--label", "syncfs.backup.stop=true", image, "sleep", "infinity")
	p.run("alone", []string{"c:/c"}, "--label", "syncfs.backup.stop=false", image, "sleep", "infinity")
	p.run("off", []string{"a:/a"}, image, "sleep", "infinity")
	docker(t, "stop", "-t", "0", p.container("off"))
	states := func() string {
		return docker(t, "inspect", "-f", "{{.State.Status}}", p.container("paused"), p.container("stopped"), p.container("alone"), p.container("off"))
	}

	// Reading a volume begins with a sync, which here does not return.
	begun := h.Command(t.Context(), "container", "backup", "held", "--no-images")
	slow := exec.Command("strace", append([]string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=syncfs", "-e", "inject=syncfs:delay_enter=600000000"}, begun.Args...)...)
	slow.Env, slow.Dir = begun.Env, begun.Dir
	slow.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() {
		_ = syscall.Kill(-slow.Process.Pid, syscall.SIGKILL)
		_ = slow.Wait()
	}
	t.Cleanup(kill)
	world.Eventually(t, 2*time.Minute, "everything that writes holds still", func() error {
		if got := states(); got != "paused\nexited\nrunning\nexited" {
			return errors.New(got)
		}
		return nil
	})
	if _, errs, code := h.Try("container", "backup", "held"); code != 11 {
		t.Errorf("a second backup beside the first: exit code %d, want 11\n%s", code, errs)
	}
	kill()
	if got := states(); got != "paused\nexited\nrunning\nexited" {
		t.Fatalf("after the kill: %s", got)
	}
	_, errs, code := h.Try("container", "backup", "held", "--no-images")
	if code != 0 || !strings.Contains(errs, "running again: held-stopped-1, held-paused-1") {
		t.Errorf("the next backup: exit code %d, want 0 and a word on what runs again\n%s", code, errs)
	}
	if got := states(); got != "running\nrunning\nrunning\nexited" {
		t.Errorf("after the next backup: %s", got)
	}
	h.Run("container", "verify", "held")
}

func TestADumpThatIsNotWholeFailsTheBackup(t *testing.T) {
	p, h := newProject(t, "broken"), home(t)
	p.network()
	p.run("db", []string{"db:/var/lib/postgresql/data"}, "-e", "POSTGRES_PASSWORD=secret", image, "run-postgres")
	p.eventually("db", "pg_isready", "-q", "-h", "127.0.0.1")
	for name, script := range map[string]string{
		"one that fails":           `echo "-- PostgreSQL database dump complete"; echo "out of memory" >&2; exit 1`,
		"one that ends early":      `echo "-- PostgreSQL database dump"; echo "create table t();"`,
		"one that is killed":       `echo "-- PostgreSQL database dump complete"; kill -9 $$`,
		"one that says nothing":    `:`,
		"one that is not let in":   `echo 'FATAL:  password authentication failed for user "postgres"' >&2; exit 2`,
		"one whose program is not": `exec /no/such/program`,
	} {
		t.Run(name, func(t *testing.T) {
			dockerIn(t, "#!/bin/sh\n"+script+"\n", "exec", "-i", p.container("db"), "sh", "-c", "cat >/usr/local/bin/pg_dump; chmod 755 /usr/local/bin/pg_dump")
			_, errs, code := h.Try("container", "backup", "broken", "--no-images")
			if code != 1 || !strings.Contains(errs, "dump failed") || !strings.Contains(errs, "broken-db-1") {
				t.Errorf("exit code %d, want 1\n%s", code, errs)
			}
			if out := h.Run("container", "list"); !strings.Contains(out, "0 backups") {
				t.Errorf("there is a backup:\n%s", out)
			}
		})
	}
	docker(t, "exec", p.container("db"), "rm", "/usr/local/bin/pg_dump")
	h.Run("container", "backup", "broken", "--no-images")

	t.Run("a server that lets nobody in", func(t *testing.T) {
		docker(t, "exec", p.container("db"), "sh", "-c", `sed -i 's/trust/reject/' "$PGDATA/pg_hba.conf" /var/lib/postgresql/data/pg_hba.conf; setpriv --reuid postgres /usr/lib/postgresql/15/bin/pg_ctl -D /var/lib/postgresql/data reload`)
		world.Eventually(t, time.Minute, "the server refuses", func() error {
			if _, err := host.docker("", "exec", p.container("db"), "psql", "-U", "postgres", "-c", "select 1"); err == nil {
				return errors.New("it lets in")
			}
			return nil
		})
		_, errs, code := h.Try("container", "backup", "broken", "--no-images")
		if code != 1 || !strings.Contains(errs, "POSTGRES_PASSWORD") || !strings.Contains(errs, "syncfs.backup.user") {
			t.Errorf("exit code %d, want 1 and a word on credentials\n%s", code, errs)
		}
	})
}

func TestADrillFindsABackupThatIsOfNoUse(t *testing.T) {
	p, h := newProject(t, "useless"), home(t)
	p.network()
	p.run("db", []string{"db:/var/lib/postgresql/data"}, "-e", "POSTGRES_PASSWORD=secret", image, "run-postgres")
	p.eventually("db", "pg_isready", "-q", "-h", "127.0.0.1")
	for name, dump := range map[string]string{
		"SQL that does not run": `echo "create table orders(id no_such_type);"`,
		"another database":      `echo "drop database if exists postgres;"`,
	} {
		dockerIn(t, "#!/bin/sh\n"+dump+"\necho '-- PostgreSQL database dump complete'\n", "exec", "-i", p.container("db"), "sh", "-c", "cat >/usr/local/bin/pg_dump; chmod 755 /usr/local/bin/pg_dump")
		h.Run("container", "backup", "useless", "--no-images")
		h.Run("container", "verify", "useless")
		out, errs, code := h.Try("container", "verify", "useless", "--drill")
		if code != 6 || !strings.Contains(errs, "drill") {
			t.Errorf("%s: exit code %d, want 6\n%s%s", name, code, out, errs)
		}
		nothingOf(t, "drill")
	}
}

func TestAnExportIsOfUseWithoutUs(t *testing.T) {
	p, h := newProject(t, "export"), home(t)
	p.network()
	p.run("app", []string{"data:/data"}, image, "sh", "-c", "mkdir -m 2750 /data/d; echo d >/data/d/d; ln /data/d/d /data/same; chown 33:44 /data/d/d; exec sleep infinity")
	p.eventually("app", "test", "-e", "/data/same")
	p.eventually("app", "sh", "-c", `[ "$(stat -c %u /data/d/d)" = 33 ]`)
	h.Run("container", "backup", "export")
	to := h.Path("exported")
	h.Run("container", "export", "export", to)
	world.Sh(t, to, "sha256sum --strict --quiet -c backup_manifest.txt && mkdir ../volume && tar -C ../volume -xpzf volumes/export_data.tar.gz")
	if got := world.Sh(t, h.Path("volume"), "stat -c '%n %a %u:%g %h' d d/d same"); got != "d 2750 0:0 2\nd/d 644 33:44 2\nsame 644 33:44 2\n" {
		t.Errorf("the volume is\n%s", got)
	}
	docker(t, "rmi", "-f", image)
	if out := docker(t, "load", "-i", filepath.Join(to, "syncfs-test_1_image.tar.gz")); !strings.Contains(out, image) {
		t.Errorf("docker load: %s", out)
	}
	if _, errs, code := h.Try("container", "export", "export", to); code != 1 || !strings.Contains(errs, "not empty") {
		t.Errorf("an export to where something is: exit code %d\n%s", code, errs)
	}
}

func TestLabelsSayWhatIsSaved(t *testing.T) {
	p, h := newProject(t, "labels"), home(t)
	p.network()
	bound := t.TempDir()
	for name, text := range map[string]string{"site.conf": "listen 80", "secret": "not saved"} {
		if err := os.WriteFile(filepath.Join(bound, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.run("app", []string{"data:/data", "tmp:/tmp/cache"},
		"-v", bound+":/etc/app", "-v", filepath.Join(bound, "site.conf")+":/etc/site.conf:ro", "-v", filepath.Join(bound, "secret")+":/etc/secret",
		"--label", "syncfs.backup.pre=date +%s%N >/data/pre; test ! -e /data/post", "--label", "syncfs.backup.post=touch /data/post",
		"--label", "syncfs.backup.exclude=/tmp/cache,/data/thumbs", "--label", "syncfs.backup.binds=/etc/app,/etc/site.conf",
		image, "sh", "-c", "mkdir -p /data/thumbs; echo t >/data/thumbs/t; echo d >/data/d; exec sleep infinity")
	p.run("other", []string{"skipped:/skipped"}, "--label", "syncfs.backup=false", image, "sleep", "infinity")
	p.eventually("app", "test", "-e", "/data/d")
	h.Run("container", "backup", "labels", "--no-images")
	files := h.Run("ls", "-R", "labels:")
	for _, want := range []string{"volumes/labels_data/d", "volumes/labels_data/pre", "binds/1/site.conf", "binds/1/secret", "binds/3"} {
		if !strings.Contains(files, want) {
			t.Errorf("%s was not saved:\n%s", want, files)
		}
	}
	for _, not := range []string{"thumbs", "labels_tmp", "labels_skipped", "binds/2", "data/post"} {
		if strings.Contains(files, not) {
			t.Errorf("%s was saved:\n%s", not, files)
		}
	}
	p.eventually("app", "test", "-e", "/data/post")
	_, errs, code := h.Try("container", "backup", "labels", "--no-images")
	if code != 1 || !strings.Contains(errs, "pre of container labels-app-1") {
		t.Errorf("a hook that fails: exit code %d, want 1\n%s", code, errs)
	}
	_, errs, code = h.Try("container", "restore", "labels", "--as", "labels2")
	if code != 1 || !strings.Contains(errs, filepath.Join(bound, "secret")) {
		t.Errorf("what cannot be renamed: exit code %d, want 1\n%s", code, errs)
	}
	if left := docker(t, "ps", "-aq", "--filter", "label=com.docker.compose.project=labels2"); left != "" {
		t.Errorf("something was made all the same: %s", left)
	}
	if err := os.WriteFile(filepath.Join(bound, "site.conf"), []byte("broken"), 0o644); err != nil {
		t.Fatal(err)
	}
	docker(t, "exec", p.container("app"), "sh", "-c", "rm -r /data/*")
	docker(t, "exec", p.container("other"), "sh", "-c", "echo mine >/skipped/file")
	h.Run("container", "restore", "labels", "--yes")
	if got := p.exec("app", "sh", "-c", "cat /data/d /etc/app/site.conf /etc/site.conf"); got != "d\nlisten 80listen 80" {
		t.Errorf("after the restore: %q", got)
	}
	if got := p.exec("other", "cat", "/skipped/file"); got != "mine" {
		t.Errorf("a volume that is in no backup: %q", got)
	}
}

func TestWhatCannotBeDoneIsSaid(t *testing.T) {
	p, h := newProject(t, "plain"), home(t)
	p.network()
	p.run("app", []string{"data:/data"}, image, "sh", "-c", "echo d >/data/d; exec sleep infinity")
	p.eventually("app", "test", "-e", "/data/d")
	h.Run("container", "backup", "plain", "--no-images")
	skipped := newProject(t, "skipped")
	skipped.network()
	skipped.run("app", []string{"data:/data"}, "--label", "syncfs.backup=false", image, "sleep", "infinity")
	wrong := newProject(t, "wrong")
	wrong.network()
	wrong.run("app", []string{"data:/data"}, "--label", "syncfs.backup.stop=maybe", image, "sleep", "infinity")
	docker(t, "run", "-d", "--name", "taken-app-1", image, "sleep", "infinity")
	t.Cleanup(func() { docker(t, "rm", "-f", "taken-app-1") })

	for _, c := range []struct {
		name string
		args []string
		env  string
		want []string
	}{
		{"no engine", []string{"backup", "plain"}, "DOCKER_HOST=unix:///no/such/socket", []string{"no container engine answers", "DOCKER_HOST"}},
		{"no such project", []string{"backup", "plane"}, "", []string{`"plane"`, "plain"}},
		{"nothing to save", []string{"backup", "skipped"}, "", []string{"nothing to save", "syncfs.backup=false"}},
		{"a label that means nothing", []string{"backup", "wrong"}, "", []string{"syncfs.backup.stop=maybe", "true, pause or false"}},
		{"no such backup", []string{"restore", "plane"}, "", []string{`"plane"`, "plain"}},
		{"no such name", []string{"restore", "plain@final"}, "", []string{`"final"`, "container list"}},
		{"no such service", []string{"restore", "plain", "--only", "db"}, "", []string{`"db"`, "app"}},
		{"a name that is taken", []string{"restore", "plain", "--as", "taken"}, "", []string{"taken-app-1"}},
		{"a name that is none", []string{"backup", "../plain"}, "", []string{`"../plain"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" {
				was := h.Env
				h.Env = append(append([]string{}, was...), c.env)
				defer func() { h.Env = was }()
			}
			_, errs, code := h.Try(append([]string{"container"}, c.args...)...)
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			for _, want := range c.want {
				if !strings.Contains(errs, want) {
					t.Errorf("%q is not in\n%s", want, errs)
				}
			}
		})
	}
	t.Run("a socket for others", func(t *testing.T) {
		// A group that has a name on every machine.
		socket := strings.TrimPrefix(host.socket(), "unix://")
		if err := errors.Join(os.Chown(socket, 0, 4), os.Chmod(host.dir, 0o755)); err != nil {
			t.Fatal(err)
		}
		poor := t.TempDir()
		if err := os.Chown(poor, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for ; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		nobody := &world.Home{}
		*nobody = *world.NewHome(t, poor)
		nobody.Env = append(nobody.Env, "DOCKER_HOST="+host.socket())
		binary := filepath.Join(poor, "syncfs")
		world.Sh(t, "/", fmt.Sprintf("cp %s %s && chmod 755 %s", world.Binary(t), binary, binary))
		nobody.Through = []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env"}
		cmd := nobody.Command(t.Context(), "init", filepath.Join(poor, "repository"))
		run := func(args ...string) (string, int) {
			one := exec.Command("setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", binary}, args...)...)
			one.Env, one.Dir = cmd.Env, "/"
			out, _ := one.CombinedOutput()
			return string(out), one.ProcessState.ExitCode()
		}
		if out, code := run("init", filepath.Join(poor, "repository")); code != 0 {
			t.Fatal(out)
		}
		if out, code := run("container", "backup", "plain"); code != 1 || !strings.Contains(out, `group "adm"`) {
			t.Errorf("exit code %d, want 1 and the name of the group\n%s", code, out)
		}
	})
}
