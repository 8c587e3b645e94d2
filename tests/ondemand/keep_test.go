//go:build linux

package ondemand

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

func TestPinnedStaysHereAndTheRestCanGo(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		r := newRig(t, env, "", func(dir string) {
			for i := range 20 {
				write(t, filepath.Join(dir, fmt.Sprintf("keep/sub/f%02d", i)), noise(50_000, uint64(i)))
				write(t, filepath.Join(dir, fmt.Sprintf("rest/f%02d", i)), noise(50_000, uint64(50+i)))
			}
		})
		in := func(name string) string { return filepath.Join(r.mount, name) }
		r.b.Run("pin", in("keep"))
		r.b.Run("pin", in("rest/f05"))
		for _, f := range []string{"keep", "keep/sub", "keep/sub/f07", "rest/f05"} {
			becomes(t, in(f), "pinned")
		}
		if got := state(t, in("rest/f06")); got != "stub" {
			t.Errorf("what is not pinned is %s", got)
		}
		if _, errs, code := r.b.Try("evict", r.mount); code != 3 || !strings.Contains(errs, "pinned") {
			t.Errorf("evicting what is pinned: exit code %d\n%s", code, errs)
		}
		// What comes into it from elsewhere comes with its content, and a pinned
		// file stays pinned when it is replaced.
		write(t, filepath.Join(r.full, "keep/sub/new"), noise(60_000, 99))
		write(t, filepath.Join(r.full, "keep/fresh/deep"), noise(60_000, 98))
		write(t, filepath.Join(r.full, "rest/f05"), noise(70_000, 97))
		r.a.Run("flush")
		world.Eventually(t, 90*time.Second, "it has arrived", func() error {
			for _, f := range []string{"keep/sub/new", "keep/fresh/deep", "rest/f05"} {
				if _, err := os.Lstat(filepath.Join(r.content, f)); err != nil {
					return err
				}
				if got := state(t, in(f)); got != "pinned" {
					return fmt.Errorf("%s is %s", f, got)
				}
			}
			if info, err := os.Lstat(in("rest/f05")); err != nil || info.Size() != 70_000 {
				return fmt.Errorf("the pinned file is not replaced: %v", err)
			}
			return nil
		})
		if _, errs, code := r.b.Try("unpin", in("keep/sub")); code != 1 || !strings.Contains(errs, "keep") {
			t.Errorf("unpinning what its directory pins: exit code %d\n%s", code, errs)
		}
		r.b.Run("unpin", in("keep"))
		world.Eventually(t, 90*time.Second, "it can be evicted", func() error {
			if _, errs, code := r.b.Try("evict", in("keep")); code != 0 {
				return errors.New(errs)
			}
			return nil
		})
		if got := state(t, in("keep/sub/f07")); got != "stub" {
			t.Errorf("what was evicted is %s", got)
		}
		if out := r.b.Run("ls", "-l", in("keep/sub")); !strings.Contains(out, "stub") {
			t.Errorf("ls -l does not tell:\n%s", out)
		}
		var rows []struct{ Path, State string }
		r.b.JSON(&rows, "ls", "-l", in("rest"))
		for _, row := range rows {
			want := "stub"
			if row.Path == "f05" {
				want = "pinned"
			}
			if row.State != want {
				t.Errorf("ls --json: %s is %q, want %s", row.Path, row.State, want)
			}
		}
		r.same()
	})
}

func TestWhatIsNotOnTheRemoteStays(t *testing.T) {
	r := newRig(t, nil, "", func(dir string) { write(t, filepath.Join(dir, "old"), noise(100_000, 1)) })
	r.srv.Kill()
	path := filepath.Join(r.mount, "new")
	write(t, path, noise(200_000, 2))
	time.Sleep(1500 * time.Millisecond) // it is captured, and cannot be sent
	if _, errs, code := r.b.Try("evict", path); code != 3 || !strings.Contains(errs, "not on the remote") {
		t.Errorf("evicting it: exit code %d\n%s", code, errs)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(data, noise(200_000, 2)) {
		t.Error("its content is gone")
	}
	r.srv.Start()
	r.b.Run("flush")
	world.Eventually(t, 90*time.Second, "it can be evicted", func() error {
		if _, errs, code := r.b.Try("evict", path); code != 0 {
			return errors.New(errs)
		}
		return nil
	})
	if data, err = os.ReadFile(path); err != nil || !bytes.Equal(data, noise(200_000, 2)) {
		t.Errorf("it does not come back: %v", err)
	}
	r.same()
}

func TestTheLimitIsKept(t *testing.T) {
	const limit = 4 << 20
	r := newRig(t, nil, "[on-demand]\nlimit = \"4MiB\"\n", func(dir string) {
		for i := range 16 {
			write(t, filepath.Join(dir, fmt.Sprintf("f%02d", i)), noise(1<<20, uint64(i)))
		}
	})
	in := func(i int) string { return filepath.Join(r.mount, fmt.Sprintf("f%02d", i)) }
	r.b.Run("pin", in(0))
	held, err := os.Open(in(1))
	must(t, err)
	defer held.Close()
	for i := range 16 {
		data, err := os.ReadFile(in(i))
		must(t, err)
		if !bytes.Equal(data, noise(1<<20, uint64(i))) {
			t.Fatalf("f%02d reads wrong", i)
		}
	}
	world.Eventually(t, 90*time.Second, "the limit is kept", func() error {
		if n := here(t, r.content); n > limit {
			return fmt.Errorf("%d bytes are here", n)
		}
		return nil
	})
	if got := state(t, in(0)); got != "pinned" {
		t.Errorf("what is pinned is %s", got)
	}
	if got := state(t, in(15)); got != "local" {
		t.Errorf("what was read last is %s", got)
	}
	if got := state(t, in(2)); got != "stub" {
		t.Errorf("what was read first is %s", got)
	}
	for i := range 16 {
		data, err := os.ReadFile(in(i))
		must(t, err)
		if !bytes.Equal(data, noise(1<<20, uint64(i))) {
			t.Errorf("f%02d reads wrong after that", i)
		}
	}
}

// TestAKilledAgentLeavesNoZeros ends the agent while content comes and goes:
// the marks decide what is content afterwards.
func TestAKilledAgentLeavesNoZeros(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		const files, size = 6, 3 << 20
		r := newRig(t, env, "", func(dir string) {
			for i := range files {
				write(t, filepath.Join(dir, fmt.Sprintf("d%d/f%d", i%3, i)), noise(size, uint64(i)))
			}
		})
		in := func(i int) string { return filepath.Join(r.mount, fmt.Sprintf("d%d/f%d", i%3, i)) }
		check := func(when string) {
			t.Helper()
			for i := range files {
				data, err := os.ReadFile(in(i))
				must(t, err)
				if !bytes.Equal(data, noise(size, uint64(i))) {
					t.Fatalf("%s: f%d is not what it was", when, i)
				}
			}
		}
		rounds := 5
		if os.Getenv("SYNCFS_SOAK") != "" {
			rounds = 100
		}
		for round := range rounds {
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				for {
					select {
					case <-stop:
						return
					default:
					}
					i := rand.IntN(files)
					if rand.IntN(2) == 0 {
						r.b.Try("evict", in(i))
						continue
					}
					f, err := os.Open(in(i))
					if err != nil {
						continue
					}
					buf := make([]byte, 100_000)
					off := rand.Int64N(size)
					n, _ := f.ReadAt(buf, off)
					if !bytes.Equal(buf[:n], noise(size, uint64(i))[off:off+int64(n)]) {
						t.Errorf("round %d: a read of f%d gave what was never in it", round, i)
					}
					_ = f.Close()
				}
			}()
			time.Sleep(time.Duration(200+rand.IntN(1200)) * time.Millisecond)
			r.b.KillAgent()
			close(stop)
			<-done
			r.start()
			check(fmt.Sprintf("round %d", round))
		}
		r.same()
		if out := r.a.Run("versions", r.full, "--json"); strings.Count(out, `"instant"`) != 1 {
			t.Errorf("nobody has changed anything, and there are new versions:\n%s", out)
		}
	})
}

// TestRandomUseIsThatOfAFullFolder does the same random things in an on-demand
// folder and in a plain directory. Both must be equal in the end, on both
// machines, and no version may hold what nobody has written.
func TestRandomUseIsThatOfAFullFolder(t *testing.T) {
	inBothWays(t, func(t *testing.T, env []string) {
		seed := rand.Uint64()
		if s := os.Getenv("SYNCFS_SEED"); s != "" {
			seed, _ = strconv.ParseUint(s, 10, 64)
		}
		t.Logf("SYNCFS_SEED=%d", seed)
		steps := 150
		if os.Getenv("SYNCFS_SOAK") != "" {
			steps = 3000
		}
		u := &user{t: t, rng: rand.New(rand.NewPCG(seed, 1)), oracle: t.TempDir(), written: map[[32]byte]bool{}}
		r := newRig(t, env, "", func(dir string) {
			u.dirs = []string{dir, u.oracle}
			for i := range 40 {
				u.write(fmt.Sprintf("d%d/e%d/f%d", i%4, i%3, i), i*997)
			}
		})
		u.dirs = []string{r.mount, u.oracle}
		for i := range steps {
			u.step(i)
			if u.rng.IntN(25) == 0 {
				r.b.Try("evict", r.mount)
			}
			if u.rng.IntN(60) == 0 {
				r.b.KillAgent()
				r.start()
			}
		}
		want := world.DescribeContent(t, u.oracle)
		if got := world.DescribeContent(t, r.mount); got != want {
			t.Fatalf("the on-demand folder differs from the plain one:\n%s", world.Differences(got, want))
		}
		r.same()
		r.a.Run("flush")
		instants, err := os.ReadDir(filepath.Join(r.full, ".versions"))
		must(t, err)
		seen := 0
		for _, at := range instants {
			if !at.IsDir() {
				continue
			}
			must(t, filepath.WalkDir(filepath.Join(r.full, ".versions", at.Name()), func(path string, d os.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if seen++; !u.written[sha256.Sum256(data)] {
					t.Errorf("%s holds %d bytes that nobody has written", path, len(data))
				}
				return nil
			}))
		}
		t.Logf("%d files in %d versions", seen, len(instants))
	})
}

// user does the same in several directories.
type user struct {
	t       *testing.T
	rng     *rand.Rand
	dirs    []string
	oracle  string
	n       int
	written map[[32]byte]bool
}

// both does f in each directory: it must end alike.
func (u *user) both(what string, f func(dir string) error) {
	u.t.Helper()
	errs := make([]error, len(u.dirs))
	for i, dir := range u.dirs {
		errs[i] = f(dir)
	}
	code := func(err error) syscall.Errno {
		var errno syscall.Errno
		errors.As(err, &errno)
		return errno
	}
	if (errs[0] == nil) != (errs[1] == nil) || code(errs[0]) != code(errs[1]) {
		u.t.Fatalf("%s: %v in the on-demand folder, %v in a plain directory", what, errs[0], errs[1])
	}
}

// note remembers what a file holds now, so that a version of it is known.
func (u *user) note(name string) {
	if data, err := os.ReadFile(filepath.Join(u.oracle, name)); err == nil {
		u.written[sha256.Sum256(data)] = true
	}
}

func (u *user) write(name string, size int) {
	u.n++
	data := append([]byte(fmt.Sprintf("#%d:", u.n)), noise(size, uint64(u.n))...)
	u.written[sha256.Sum256(data)] = true
	u.written[sha256.Sum256(nil)] = true
	for _, dir := range u.dirs {
		write(u.t, filepath.Join(dir, name), data)
	}
}

// file is one that may be there.
func (u *user) file() string {
	return fmt.Sprintf("d%d/e%d/f%d", u.rng.IntN(5), u.rng.IntN(3), u.rng.IntN(40))
}

func (u *user) dir() string {
	if u.rng.IntN(2) == 0 {
		return fmt.Sprintf("d%d", u.rng.IntN(6))
	}
	return fmt.Sprintf("d%d/e%d", u.rng.IntN(6), u.rng.IntN(4))
}

func (u *user) step(i int) {
	name, other := u.existing(), u.file()
	in := func(dir, name string) string { return filepath.Join(dir, name) }
	open := func(flags int, data string) {
		u.both(fmt.Sprintf("%d: open %s with %#x", i, name, flags), func(dir string) error {
			f, err := os.OpenFile(in(dir, name), flags, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString(data)
			return errors.Join(err, f.Close())
		})
		u.note(name)
	}
	switch u.rng.IntN(14) {
	case 0:
		u.both("mkdir", func(dir string) error { return os.MkdirAll(in(dir, filepath.Dir(other)), 0o755) })
		if st, err := os.Lstat(in(u.oracle, other)); err != nil || st.Mode().IsRegular() {
			u.write(other, u.rng.IntN(400_000))
		}
	case 1:
		open(os.O_WRONLY|os.O_APPEND, fmt.Sprintf("appended %d", i))
	case 2:
		open(os.O_WRONLY|os.O_TRUNC, fmt.Sprintf("replaced %d", i))
	case 3:
		open(os.O_RDWR, fmt.Sprintf("over %d", i))
	case 4:
		size := u.rng.Int64N(100_000)
		u.both(fmt.Sprintf("%d: truncate %s", i, name), func(dir string) error { return os.Truncate(in(dir, name), size) })
		u.note(name)
	case 5, 6:
		u.both(fmt.Sprintf("%d: rename %s to %s", i, name, other), func(dir string) error { return os.Rename(in(dir, name), in(dir, other)) })
	case 7:
		a, b := u.dir(), u.dir()
		u.both(fmt.Sprintf("%d: rename %s to %s", i, a, b), func(dir string) error { return syscall.Rename(in(dir, a), in(dir, b)) })
	case 8:
		u.both(fmt.Sprintf("%d: remove %s", i, name), func(dir string) error { return os.Remove(in(dir, name)) })
	case 9:
		d := u.dir()
		u.both(fmt.Sprintf("%d: rmdir %s", i, d), func(dir string) error { return syscall.Rmdir(in(dir, d)) })
	case 10:
		mode := os.FileMode(0o600 + u.rng.IntN(0o100))
		u.both(fmt.Sprintf("%d: chmod %s", i, name), func(dir string) error { return os.Chmod(in(dir, name), mode) })
	case 11:
		at := time.Unix(1_500_000_000+int64(i), 5)
		u.both(fmt.Sprintf("%d: utimes %s", i, name), func(dir string) error { return os.Chtimes(in(dir, name), at, at) })
	case 12:
		var got [2][]byte
		at := 0
		u.both(fmt.Sprintf("%d: read %s", i, name), func(dir string) (err error) {
			got[at], err = os.ReadFile(in(dir, name))
			at++
			return err
		})
		if !bytes.Equal(got[0], got[1]) {
			u.t.Fatalf("%d: %s reads %d bytes in the on-demand folder that differ from the %d of a plain file", i, name, len(got[0]), len(got[1]))
		}
	case 13:
		d := u.dir()
		u.both(fmt.Sprintf("%d: list %s", i, d), func(dir string) error { _, err := os.ReadDir(in(dir, d)); return err })
	}
}

// existing is a file that is there, as far as there is one.
func (u *user) existing() string {
	var all []string
	_ = filepath.WalkDir(u.oracle, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(u.oracle, path)
			all = append(all, rel)
		}
		return nil
	})
	if len(all) == 0 {
		return u.file()
	}
	return all[u.rng.IntN(len(all))]
}
