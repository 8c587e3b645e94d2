package agent_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	live "github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// The test binary is also the applier child and a whole agent of its own.
const roleVariable = "SYNCFS_AGENT_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "applier":
		if err := live.ApplierMain(context.Background(), os.NewFile(3, "agent"), os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case "agent":
		if err := agent.Run(context.Background(), options(dirsOf(os.Args[1]))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// maintainVariable makes an agent put the remote in order as often.
const maintainVariable = "SYNCFS_AGENT_TEST_MAINTAIN"

const patience = 30 * time.Second

func dirsOf(home string) config.Dirs {
	d, err := config.UserDirs(func(k string) string {
		if k == "HOME" {
			return home
		}
		return ""
	})
	if err != nil {
		panic(err) // cannot happen: HOME is absolute
	}
	return d
}

func options(d config.Dirs) agent.Options {
	exe, err := os.Executable()
	if err != nil {
		panic(err) // cannot happen: we are running
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("SYNCFS_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	every, _ := time.ParseDuration(os.Getenv(maintainVariable)) // absent: the default
	return agent.Options{
		MaintainEvery: every,
		Now:           clock(filepath.Join(d.State, "test-clock")), Dirs: d, Exe: []string{"/usr/bin/env", roleVariable + "=applier", exe},
		Settle: 50 * time.Millisecond, Logger: log,
	}
}

// clock is the machine's, moved by the duration in a file, if that is there.
func clock(path string) func() time.Time {
	return func() time.Time {
		data, err := os.ReadFile(path)
		if err != nil {
			return time.Now()
		}
		offset, err := time.ParseDuration(string(data))
		if err != nil {
			panic(err) // cannot happen: a test wrote it
		}
		return time.Now().Add(offset)
	}
}

// home is one HOME, with an agent in a process of its own.
type home struct {
	t    *testing.T
	path string
	dirs config.Dirs
	cmd  *exec.Cmd
	c    *agent.Client
}

const passphrase = "correct horse"

func newHome(t *testing.T, url string, setUp func(context.Context, agent.SetupOptions) (agent.Setup, error)) *home {
	t.Helper()
	h := &home{t: t, path: t.TempDir()}
	h.dirs = dirsOf(h.path)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := setUp(ctx, agent.SetupOptions{Dirs: h.dirs, URL: url, Passphrase: passphrase}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.clear)
	return h
}

// clear ends what a failed test has left.
func (h *home) clear() {
	if h.cmd != nil {
		h.stop()
	}
	for _, name := range []string{"Docs", "Other"} {
		for unix.Unmount(h.dir(name), unix.MNT_DETACH) == nil {
		}
	}
}

func (h *home) dir(name string) string { return filepath.Join(h.path, name) }

func (h *home) start() *home {
	h.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	h.cmd = exec.Command(exe, h.path)
	h.cmd.Env = append(os.Environ(), roleVariable+"=agent")
	h.cmd.Stderr = os.Stderr
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the agent answers", func() bool {
		h.c, err = agent.Dial(h.dirs)
		return err == nil
	})
	return h
}

func (h *home) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := agent.ErrNotRunning
	if h.c != nil {
		err = h.c.Stop(ctx)
	}
	if err != nil {
		h.t.Errorf("stop: %v", err)
		_ = h.cmd.Process.Kill()
	}
	_ = h.cmd.Wait()
	h.cmd = nil
}

// kill ends the agent as a crash does.
func (h *home) kill() {
	h.t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	_ = h.cmd.Wait()
	h.cmd = nil
}

func (h *home) eventually(what string, ok func() bool) {
	h.t.Helper()
	end := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(end) {
			h.t.Fatalf("it never came true: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (h *home) add(name string, noMount bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := os.MkdirAll(h.dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.c.Add(ctx, agent.AddRequest{Path: h.dir(name), NoMount: noMount}, nil); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) get(name string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if _, err := h.c.Get(ctx, agent.GetRequest{Name: name, Path: h.dir(name)}, nil); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) flush() {
	h.t.Helper()
	if err := h.c.Flush(h.t.Context(), "", patience); err != nil {
		h.t.Fatal(err)
	}
}

// sh runs a script, bounded, since it may work on a mount.
func sh(t *testing.T, dir, script string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-ec", script, "sh"}, args...)...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// listing is all that find and cksum tell of a tree, which may be changing.
func listing(t *testing.T, dir string) string {
	t.Helper()
	return sh(t, dir, `find . -mindepth 1 \( -name .versions -o -name '.syncfs-stage-*' \) -prune -o -printf '%p %y %m %u %g %s %T@ %l\n' | sort
		find . -name .versions -prune -o -type f -print0 | sort -z | xargs -0 -r cksum 2>&1 || true
		find . -name .versions -prune -o -type f -print0 | sort -z | xargs -0 -r getfattr -d -m 'user\.' 2>/dev/null || true`)
}

func TestAFolderReachesASecondHome(t *testing.T) {
	repository := filepath.Join(t.TempDir(), "repository")
	a := newHome(t, repository, agent.InitRepository).start()
	sh(t, a.path, `mkdir -p Docs/sub/deep; cd Docs; echo one > one; echo two > sub/two; : > empty
		ln -s one link; ln sub/two hard; chmod 640 one; touch -d '2001-02-03 04:05:06.789' sub/two
		head -c 3000000 /dev/urandom > big; truncate -s 5M sparse; printf x | dd of=sparse bs=1 seek=2000000 conv=notrunc status=none
		mkdir mode; chmod 2770 mode; printf bytes > "$(printf 'latin\351')"`)
	a.add("Docs", false)
	sh(t, a.dir("Docs"), `echo three > sub/deep/three; echo changed >> one`)
	a.flush()

	b := newHome(t, repository, agent.ConnectRepository).start()
	b.get("Docs")
	if got, want := listing(t, b.dir("Docs")), listing(t, a.dir("Docs")); got != want {
		t.Fatalf("the second home has\n%s\nwant\n%s", got, want)
	}
	// It follows.
	sh(t, a.dir("Docs"), `echo four > four; rm one; mv sub/deep moved; chmod 600 big`)
	a.flush()
	b.eventually("b follows", func() bool { return listing(t, b.dir("Docs")) == listing(t, a.dir("Docs")) })
	// Both write.
	sh(t, b.dir("Docs"), `echo from b > four-b`)
	b.flush()
	a.eventually("a follows", func() bool { return listing(t, b.dir("Docs")) == listing(t, a.dir("Docs")) })
	// The past is there, in both.
	for _, h := range []*home{a, b} {
		got := sh(t, h.dir("Docs"), `ls .versions | grep -c '^[0-9]'; cat .versions/latest/four`)
		if !strings.HasSuffix(got, "four\n") {
			t.Errorf("got %q", got)
		}
	}
	// And below, the files are plain files when nobody serves them.
	want := listing(t, a.dir("Docs"))
	a.stop()
	if got := listing(t, a.dir("Docs")); got != want {
		t.Errorf("after the stop:\n%s\nwant\n%s", got, want)
	}
}

func TestAKilledAgentGoesOnWhereItWas(t *testing.T) {
	repository := filepath.Join(t.TempDir(), "repository")
	a := newHome(t, repository, agent.InitRepository).start()
	a.add("Docs", false)
	for i := range 5 {
		sh(t, a.dir("Docs"), `echo "$1" > "f$1"; sync "f$1"`, fmt.Sprint(i))
		a.kill()
		a.start()
		a.eventually("it is mounted again", func() bool {
			st, err := a.c.Status(t.Context())
			return err == nil && len(st.Folders) == 1 && st.Folders[0].Mounted && st.Folders[0].State != agent.StateStarting
		})
		a.flush()
		if got := sh(t, a.dir("Docs"), `cat .versions/latest/f"$1"`, fmt.Sprint(i)); got != fmt.Sprintf("%d\n", i) {
			t.Fatalf("round %d: %q", i, got)
		}
	}
	st, err := a.c.Status(t.Context())
	if err != nil || st.Folders[0].State != agent.StateSafe {
		t.Errorf("%+v %v", st, err)
	}
}

func TestWhatCannotBeAFolderIsRefused(t *testing.T) {
	repository := filepath.Join(t.TempDir(), "repository")
	a := newHome(t, repository, agent.InitRepository).start()
	a.add("Docs", false)
	if err := os.MkdirAll(a.dir("Docs/inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	sh(t, a.path, `mkdir -p real Other/x/.versions; ln -s "$PWD/Docs" toDocs; : > file`)
	for _, tc := range []struct{ name, path, want string }{
		{"the folder itself", a.dir("Docs"), `is the folder "Docs" already`},
		{"the folder through a symlink", a.dir("toDocs"), `is the folder "Docs" already`},
		{"below a folder", a.dir("Docs/inner"), `lies in the folder "Docs"`},
		{"what holds a folder", a.path, "holds"},
		{"the state", a.dirs.State, "the state of syncfs"},
		{"the repository", repository, "the repository"},
		{"above the repository", filepath.Dir(repository), "the repository"},
		{"a file", a.dir("file"), "not a directory"},
		{"an entry named .versions", a.dir("Other"), "Other/x/.versions"},
		{"the whole system", "/", "root of the whole system"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := a.c.Add(t.Context(), agent.AddRequest{Path: tc.path, Name: "n"}, nil)
			if !errors.Is(err, agent.ErrRefused) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want a refusal with %q", err, tc.want)
			}
		})
	}
	t.Run("an agent of another home", func(t *testing.T) {
		b := newHome(t, filepath.Join(t.TempDir(), "another"), agent.InitRepository).start()
		_, err := b.c.Add(t.Context(), agent.AddRequest{Path: a.dir("Docs")}, nil)
		if !errors.Is(err, agent.ErrRefused) || !strings.Contains(err.Error(), fmt.Sprint(a.cmd.Process.Pid)) {
			t.Errorf("got %v, want a refusal that names pid %d", err, a.cmd.Process.Pid)
		}
	})
	t.Run("a second agent", func(t *testing.T) {
		err := agent.Run(t.Context(), options(a.dirs))
		if !errors.Is(err, agent.ErrRunning) || !strings.Contains(err.Error(), fmt.Sprint(a.cmd.Process.Pid)) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a name that is taken", func(t *testing.T) {
		_, err := a.c.Add(t.Context(), agent.AddRequest{Path: a.dir("real"), Name: "Docs"}, nil)
		if !errors.Is(err, os.ErrExist) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSetUpRefusals(t *testing.T) {
	repository := filepath.Join(t.TempDir(), "repository")
	d := dirsOf(t.TempDir())
	ctx := t.Context()
	if _, err := agent.ConnectRepository(ctx, agent.SetupOptions{Dirs: d, URL: repository, Passphrase: passphrase}); !errors.Is(err, store.ErrNoRepository) {
		t.Errorf("connect to nothing: %v", err)
	}
	a := newHome(t, repository, agent.InitRepository)
	if _, err := agent.InitRepository(ctx, agent.SetupOptions{Dirs: a.dirs, URL: repository, Passphrase: passphrase}); !errors.Is(err, agent.ErrConnected) || !strings.Contains(err.Error(), repository) {
		t.Errorf("init twice: %v", err)
	}
	if _, err := agent.InitRepository(ctx, agent.SetupOptions{Dirs: d, URL: repository, Passphrase: passphrase}); !errors.Is(err, store.ErrExists) {
		t.Errorf("init where one is: %v", err)
	}
	if _, err := agent.Connected(d); !errors.Is(err, agent.ErrNotConnected) {
		t.Errorf("after failures: %v", err)
	}
	if err := agent.Run(ctx, options(d)); !errors.Is(err, agent.ErrNotConnected) {
		t.Errorf("run without a repository: %v", err)
	}
	if err := agent.Disconnect(ctx, a.dirs, false); err != nil {
		t.Error(err)
	}
	if _, err := agent.Dial(a.dirs); !errors.Is(err, agent.ErrNotRunning) {
		t.Errorf("dial: %v", err)
	}
}

func TestReaderFindsThePast(t *testing.T) {
	repository := filepath.Join(t.TempDir(), "repository")
	a := newHome(t, repository, agent.InitRepository).start()
	a.add("Docs", false)
	for i := range 3 {
		sh(t, a.dir("Docs"), `mkdir -p sub; echo "version $1" > sub/f`, fmt.Sprint(i))
		a.flush()
	}
	sh(t, a.dir("Docs"), `rm sub/f`)
	a.flush()
	b := newHome(t, repository, agent.ConnectRepository) // has no folder, and no agent
	check := func(t *testing.T, h *home, arg string) {
		t.Helper()
		ctx := t.Context()
		r, err := agent.OpenReader(ctx, h.dirs, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p, err := r.Locate(ctx, arg)
		if err != nil {
			t.Fatal(err)
		}
		if p.Folder.Name != "Docs" || p.Rel != "sub/f" {
			t.Fatalf("located %+v", p)
		}
		list, err := r.FileVersions(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		var kinds []agent.ChangeKind
		for _, v := range list {
			kinds = append(kinds, v.Change)
		}
		if got := fmt.Sprint(kinds); got != "[created modified modified deleted]" {
			t.Fatalf("changes: %s", got)
		}
		f, err := r.At(ctx, p, versions.When{Exact: list[1].Instant})
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Contents().Open(ctx, f.Entry)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		data, err := io.ReadAll(io.NewSectionReader(c, 0, f.Entry.Size))
		if err != nil || string(data) != "version 1\n" {
			t.Errorf("got %q, %v", data, err)
		}
		if _, err := r.At(ctx, p, versions.When{At: time.Now().AddDate(-1, 0, 0), Spelled: "a year ago"}); !errors.Is(err, agent.ErrNoInstant) || !strings.Contains(err.Error(), list[0].Instant.String()[:8]) {
			t.Errorf("before the first: %v", err)
		}
		if _, err := r.Locate(ctx, "/usr"); !errors.Is(err, agent.ErrOutside) || !strings.Contains(err.Error(), "Docs") {
			t.Errorf("outside: %v", err)
		}
		if _, err := r.Locate(ctx, "nothing:x"); !errors.Is(err, agent.ErrUnknown) {
			t.Errorf("unknown folder: %v", err)
		}
	}
	t.Run("with an agent", func(t *testing.T) { check(t, a, a.dir("Docs/sub/f")) })
	t.Run("in another home", func(t *testing.T) { check(t, b, "Docs:sub/f") })
	a.stop()
	t.Run("without an agent", func(t *testing.T) { check(t, a, a.dir("Docs/sub/f")) })
}

func TestErrorsKeepTheirClassOverTheSocket(t *testing.T) {
	a := newHome(t, filepath.Join(t.TempDir(), "repository"), agent.InitRepository).start()
	if _, err := a.c.Mount(t.Context(), "nothing"); !errors.Is(err, agent.ErrUnknown) || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("mount: %v", err)
	}
	if _, err := a.c.Get(t.Context(), agent.GetRequest{Name: "nothing", Path: a.dir("x")}, nil); !errors.Is(err, agent.ErrUnknown) {
		t.Errorf("get: %v", err)
	}
	if _, err := a.c.Add(t.Context(), agent.AddRequest{Path: a.dir("absent")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("add: %v", err)
	}
}

func TestUmountStaysUntilMount(t *testing.T) {
	a := newHome(t, filepath.Join(t.TempDir(), "repository"), agent.InitRepository).start()
	a.add("Docs", false)
	sh(t, a.dir("Docs"), `echo 1 > f`)
	ctx := t.Context()
	if err := a.c.Umount(ctx, "Docs", false); err != nil {
		t.Fatal(err)
	}
	sh(t, a.dir("Docs"), `test ! -e .versions; echo 2 > f`) // an ordinary directory
	a.stop()
	a.start()
	st, err := a.c.Status(ctx)
	if err != nil || st.Folders[0].State != agent.StateStopped {
		t.Fatalf("%+v %v", st.Folders, err)
	}
	if _, err := a.c.Mount(ctx, "Docs"); err != nil {
		t.Fatal(err)
	}
	a.flush()
	if got := sh(t, a.dir("Docs"), `cat .versions/latest/f`); got != "2\n" {
		t.Errorf("got %q", got)
	}
}
