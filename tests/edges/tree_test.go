//go:build linux

package edges

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// odd makes what names and inodes may be.
const odd = `
	long=$(printf 'n%.0s' $(seq 255)); echo long > $long; mkdir ${long/n/d}; echo in > ${long/n/d}/$long
	echo a > "$(printf 'new\nline')"; echo b > "$(printf 'not\xff\xfeutf8')"; echo c > 'back\slash'; echo d > ./-dash
	echo e > ' spaces '; echo f > 'tab	tab'; echo g > '*?[x]"$(true)'; echo h > "$(printf '\x01\x7f')"
	echo i > 'report (conflict host 20250131_201530 0a1b2c3d).txt'; echo j > .hidden; echo k > '~'; echo l > 'ü'; echo m > "$(printf 'u\xcc\x88')"
	mkdir -- "$(printf 'dir\nwith\xff')" && echo n > "$(printf 'dir\nwith\xff')/-"
	(for i in $(seq 200); do mkdir d && cd d; done; echo bottom > file)
	(c=$(printf 'c%.0s' $(seq 199)); for i in $(seq 19); do mkdir $c && cd $c; done; echo end > $(printf 'e%.0s' $(seq 199)))
	echo linked > one; ln one two; mkdir sub; ln one sub/three; echo x > apart; ln apart sub/together
	truncate -s 3G sparse; printf start | dd of=sparse conv=notrunc status=none; printf end | dd of=sparse bs=1 seek=3000000000 conv=notrunc status=none
	ln -s "$(printf 'to\nnowhere')" 'a link'; : > empty; mkdir 'empty dir'
	setfattr -n user.k -v v one; chmod 6711 apart; touch -d '1970-01-02 00:00:00.000000001' empty
`

func TestOddNamesAndInodesTravel(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	world.Sh(t, p.a.dir, odd+`mkfifo fifo; mkdir other; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("other/socket")'`)
	world.Sh(t, p.a.dir, `test -p fifo && test -S other/socket; rm fifo other/socket`) // their notes go with them
	p.settledBut("sparse")
	for _, m := range []machine{p.a, p.b} {
		out := world.Sh(t, m.dir, `head -c 5 sparse; dd if=sparse bs=1 skip=3000000000 count=3 status=none; [ $(stat -c %b sparse) -lt 1000 ] && echo holes`)
		if out != "startendholes\n" {
			t.Errorf("sparse: %q", out)
		}
	}
	// Both ways, and every kind becomes another.
	world.Sh(t, p.b.dir, `
		rm one && mkdir one && echo was-a-file > one/inside
		rm -r sub && echo was-a-directory > sub
		rm 'a link' && mkdir -p 'a link/x' && echo y > 'a link/x/y'
		mv d e; rm empty && ln -s two empty; rmdir 'empty dir'; echo more >> two
		mv -- -dash "$(printf 'new\nname')"; mv "$(printf 'dir\nwith\xff')" plain`)
	p.settledBut("sparse")
	world.Sh(t, p.a.dir, `rm -r one && echo again > one; rm sub && mkdir sub && mv two sub/; rm empty`)
	p.settledBut("sparse")
	if left := world.Sh(t, p.b.dir, `find . -name .versions -prune -o -name '.syncfs*' -print -o -name '*(conflict *' ! -name 'report*' -print`); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	p.a.Run("check", "--read-data")
}

// A path that no program can name in one call is told, and hinders nothing.
func TestAPathThatIsTooLongHindersNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	world.Sh(t, p.a.dir, `c=$(printf 'c%.0s' $(seq 250)); for i in $(seq 18); do mkdir $c && cd -P $c; done; echo deep > deep`)
	write(t, p.a.dir, "beside", "beside")
	comes(t, p.b.dir, "beside", "beside")
	write(t, p.b.dir, "back", "back")
	comes(t, p.a.dir, "back", "back")
	out, _, _ := p.a.Try("status")
	t.Logf("%.300s", out)
	world.Sh(t, p.a.dir, `rm -rf c*`)
	p.settled()
}

func TestAFileThatIsReplacedWhileItIsSent(t *testing.T) {
	t.Parallel()
	p, toA, _ := wiredPair(t)
	toA.Spoil(`bandwidth {"rate":2000}`)
	v1, v2 := noise(10<<20), noise(9<<20)
	write(t, p.a.dir, "f", v1)
	world.Eventually(t, patience, "it is on its way", func() error {
		s, _ := statusOf(t, p.a.Home)
		if len(s.Folders) == 0 || s.Folders[0].Activity == nil || s.Folders[0].Activity.Stage != "upload" {
			return fmt.Errorf("%+v", s.Folders)
		}
		return nil
	})
	write(t, p.a.dir, "f.new", v2)
	if err := os.Rename(filepath.Join(p.a.dir, "f.new"), filepath.Join(p.a.dir, "f")); err != nil {
		t.Fatal(err)
	}
	comes(t, p.b.dir, "f", v2)
	toA.Heal()
	p.settled()
	p.clean()
	var list []struct{ Instant, Change string }
	p.b.JSON(&list, "versions", filepath.Join(p.b.dir, "f"))
	if len(list) == 0 || p.b.Run("cat", filepath.Join(p.b.dir, "f")+"@"+list[0].Instant) != v1 {
		t.Errorf("the first content is in no version: %v", list)
	}
}

// lively fails when an agent does not answer at once or its memory grows
// without end, until stop is called.
func lively(t *testing.T, machines ...machine) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	slowest, most := time.Duration(0), 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(500 * time.Millisecond):
			}
			for _, m := range machines {
				asked := time.Now()
				if _, errs, code := m.Try("status"); code == 1 {
					t.Errorf("status: exit code %d\n%s", code, errs)
				}
				slowest = max(slowest, time.Since(asked))
				most = max(most, resident(t, m.Pid()))
			}
		}
	}()
	return func() {
		close(end)
		<-ended
		t.Logf("status took at most %v; an agent had at most %d MiB", slowest.Round(time.Millisecond), most>>10)
		if slowest > 60*time.Second {
			t.Errorf("status took %v", slowest)
		}
		if most > 400<<10 {
			t.Errorf("an agent took %d MiB", most>>10)
		}
	}
}

// resident is the anonymous memory of a process in KiB.
func resident(t *testing.T, pid int) (kib int) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Error(err)
		return 0
	}
	for line := range strings.Lines(string(data)) {
		_, _ = fmt.Sscanf(line, "RssAnon: %d kB", &kib)
	}
	return kib
}

// length is short in an ordinary run.
func length(short, long time.Duration) time.Duration {
	if soak() {
		return long
	}
	return short
}

func TestAFileThatIsAppendedToWithoutEnd(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	stop := lively(t, p.a, p.b)
	f, err := os.OpenFile(filepath.Join(p.a.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all strings.Builder
	short := 0
	for end, n := time.Now().Add(length(8*time.Second, time.Minute)), 0; time.Now().Before(end); n++ {
		line := fmt.Sprintf("line %d of a log that never rests\n", n)
		if _, err := f.WriteString(line); err != nil {
			t.Fatal(err)
		}
		all.WriteString(line)
		time.Sleep(10 * time.Millisecond)
		if n%50 == 0 {
			got, err := os.ReadFile(filepath.Join(p.b.dir, "log"))
			if err == nil && !strings.HasPrefix(all.String(), string(got)) {
				t.Fatal("the other machine has what nobody wrote")
			}
			if err == nil && len(got) > 0 {
				short++
			}
		}
	}
	f.Close()
	stop()
	comes(t, p.b.dir, "log", all.String())
	p.settled()
	p.clean()
	var list []struct{ Instant string }
	p.a.JSON(&list, "versions", filepath.Join(p.a.dir, "log"))
	t.Logf("%d versions; the other machine had a part of it %d times", len(list), short)
	if len(list) > 90 {
		t.Errorf("%d versions", len(list))
	}
}

func TestChangesWithoutEnd(t *testing.T) {
	p := newPair(t, nil)
	stop := lively(t, p.a, p.b)
	n, begun := 0, time.Now()
	for i := 0; time.Since(begun) < length(8*time.Second, time.Minute); i++ {
		dir := filepath.Join(p.a.dir, fmt.Sprint("d", i%10))
		if i < 10 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(dir, fmt.Sprint("f", i%977))
		if err := os.WriteFile(name+".tmp", []byte(fmt.Sprint("content ", i)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".tmp", name); err != nil {
			t.Fatal(err)
		}
		n += 2
		switch i % 7 {
		case 3:
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			n++
		case 5:
			if err := os.Chmod(name, 0o600|os.FileMode(i%8)); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	t.Logf("%.0f changes a second", float64(n)/time.Since(begun).Seconds())
	calm := time.Now()
	p.settled()
	t.Logf("the same on both %v after the last", time.Since(calm).Round(100*time.Millisecond))
	stop()
	p.clean()
}

func TestManyFilesInOneDirectory(t *testing.T) {
	n := 10_000
	if soak() {
		n = 100_000
	}
	p := newPair(t, nil)
	stop := lively(t, p.a, p.b)
	big := filepath.Join(p.a.dir, "big")
	if err := os.Mkdir(big, 0o755); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for i := range n {
		if err := os.WriteFile(filepath.Join(big, fmt.Sprintf("file number %d", i)), fmt.Append(nil, i), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("made in %v", time.Since(begun).Round(100*time.Millisecond))
	p.settledWithin(10 * time.Minute)
	t.Logf("on the other machine after %v", time.Since(begun).Round(100*time.Millisecond))
	// One change in it costs little.
	begun = time.Now()
	write(t, p.b.dir, "big/file number 77", "changed")
	comes(t, p.a.dir, "big/file number 77", "changed")
	t.Logf("one change came after %v", time.Since(begun).Round(time.Millisecond))
	if soak() {
		begun = time.Now()
		if err := os.Rename(filepath.Join(p.b.dir, "big"), filepath.Join(p.b.dir, "renamed")); err != nil {
			t.Fatal(err)
		}
		p.settledWithin(10 * time.Minute)
		t.Logf("a rename of the directory took %v", time.Since(begun).Round(100*time.Millisecond))
	}
	stop()
	p.clean()
}
