//go:build linux

package fs_test

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/fs"
)

// clock is the tests' now: a day after the last instant of most of them.
func clock() time.Time { return time.Date(2025, 2, 2, 12, 0, 0, 0, time.UTC) }

func withClock(o *fs.HistoryMountOptions) { o.Now = clock }

// twoStates is a folder with two snapshots: sub changes in the second.
func twoStates(t testing.TB) *pastSource {
	t.Helper()
	s := newPastSource()
	other := s.dir(t, "other", s.file(t, "same", "same"))
	s.land(t, instant(10), s.dir(t, "", other, s.dir(t, "sub", s.file(t, "f", "old"))))
	s.land(t, instant(20), s.dir(t, "", other, s.dir(t, "sub", s.file(t, "f", "newer"), s.file(t, "g", "g"))))
	return s
}

func TestVersionsListsTheInstantsOfItsDirectory(t *testing.T) {
	s := twoStates(t)
	dir, _ := mountPast(t, s, withClock)
	for path, want := range map[string]string{
		".versions":       ". .. 20250201_000010 20250201_000020 CACHEDIR.TAG latest",
		"sub/.versions":   ". .. 20250201_000010 20250201_000020 CACHEDIR.TAG latest",
		"other/.versions": ". .. 20250201_000010 CACHEDIR.TAG latest",
	} {
		if got := strings.Join(strings.Fields(sh(t, dir, `ls -a "$1"`, path)), " "); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if got := sh(t, dir, `cat sub/.versions/20250201_000010/f sub/.versions/20250201_000020/f .versions/20250201_000010/sub/f`); got != "oldnewerold" {
		t.Errorf("contents: %q", got)
	}
	if got := sh(t, dir, `stat -c %Y,%F .versions/20250201_000010 sub/.versions/20250201_000020`); got !=
		fmt.Sprintf("%d,directory\n%d,directory\n", instant(10).Sec, instant(20).Sec) {
		t.Errorf("times: %s", got)
	}
	if got := sh(t, dir, `head -c 43 .versions/CACHEDIR.TAG`); got != "Signature: 8a477f597d28d172789f06886806bc55" {
		t.Errorf("tag: %q", got)
	}
	if got := sh(t, dir, `ls -A; ls -A sub`); got != ".versions\nother\nsub\nf\ng\n" {
		t.Errorf("the mount itself lists %q", got)
	}
}

func TestIncompleteIsShownWhileTheListIsBuilt(t *testing.T) {
	s := twoStates(t)
	s.building = true
	dir, m := mountPast(t, s, withClock)
	sh(t, dir, `test -s .versions/.incomplete && ls -a .versions | grep -qx .incomplete`)
	s.mu.Lock()
	s.building = false
	s.mu.Unlock()
	m.Landed(instant(20))
	sh(t, dir, `sleep 1.1; test ! -e .versions/.incomplete && ! ls -a .versions | grep -x .incomplete`)
}

func TestSpellingsAreSymlinksToTheStateThatHeld(t *testing.T) {
	s := newPastSource()
	same := s.dir(t, "same", s.file(t, "x", "x"))
	day := 24 * 3600
	for i, content := range []string{"1", "2", "3"} {
		s.land(t, instant(i*day), s.dir(t, "", same, s.file(t, "f", content)))
	}
	noon := func(o *fs.HistoryMountOptions) {
		o.Now = func() time.Time { return time.Date(2025, 2, 3, 12, 0, 0, 0, time.UTC) }
	}
	dir, _ := mountPast(t, s, noon)
	for name, want := range map[string]string{
		"latest":                        "20250203_000000",
		"20250202_111213":               "20250202_000000", // an instant that is not one of this directory
		"20250203_000000_07":            "20250203_000000",
		"20250131_000000":               "",
		"30250131_000000":               "",
		"nonsense":                      "",
		".versions":                     "",
		"2h-ago":                        "20250203_000000",
		"13h-ago":                       "20250202_000000",
		"2020-01-01":                    "",
		"2025-01-01":                    "",
		"2025-13-77":                    "",
		"x" + strings.Repeat("y", 200):  "",
		string([]byte{0xff, 0xfe, '-'}): "",
		"20250202_000000/../latest":     "20250203_000000",
		"20250202_000000_01":            "",
		"2025-02-04T00:00":              "",
	} {
		got, err := trySh(t, dir, `readlink ".versions/$1"`, name)
		if want == "" && err == nil || strings.TrimSpace(got) != want {
			t.Errorf("%q: %q (%v), want %q", name, got, err, want)
		}
	}
	// Local time decides these; the middle of a day is in that day nearly everywhere.
	for _, name := range []string{"2025-02-02", "2025-02-02T20:15", "yesterday", "today"} {
		got := sh(t, dir, `readlink ".versions/$1" && cat ".versions/$1/f"`, name)
		if !strings.HasPrefix(got, "2025020") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := sh(t, dir, `readlink same/.versions/20250203_000000; cat same/.versions/latest/x`); got != "20250201_000000\nx" {
		t.Errorf("an instant of the folder: %q", got)
	}
	if got := sh(t, dir, `readlink .versions/20250202_000000 || stat -c %F .versions/20250202_000000`); got != "directory\n" {
		t.Errorf("an instant of its own: %q", got)
	}
}

func TestAShellStaysInAVersionWhileSnapshotsLand(t *testing.T) {
	s := twoStates(t)
	dir, m := mountPast(t, s, withClock)
	ready, landed := tempFile(t, "ready"), tempFile(t, "landed")
	var out string
	var wg sync.WaitGroup
	wg.Go(func() {
		out = sh(t, dir, `exec 2>&1; readlink .versions/latest; cd .versions/latest && cat sub/f && : >"$1"
			n=0; while [ ! -e "$2" ] && [ $n -lt 400 ]; do sleep 0.05; n=$((n+1)); done
			ls; cat sub/f; ls sub; cat ../../sub/f; pwd -P | sed 's/.*\.versions/.versions/'
			cd ../..; readlink .versions/latest; cat .versions/latest/sub/f sub/f`, ready, landed)
	})
	for i := 0; ; i++ {
		if _, err := exec.Command("test", "-e", ready).Output(); err == nil {
			break
		}
		if i == 200 {
			t.Fatal("the shell is not there")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i := range 5 {
		s.land(t, instant(30+i), s.dir(t, "", s.dir(t, "sub", s.file(t, "f", fmt.Sprint("third", i)))))
		m.Landed(instant(30 + i))
	}
	time.Sleep(1100 * time.Millisecond)
	sh(t, "/", `: >"$1"`, landed)
	wg.Wait()
	want := "20250201_000020\nnewer" + "other\nsub\nnewerf\ng\nthird4.versions/20250201_000020\n" +
		"20250201_000034\nthird4third4"
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

// TestAVersionIsReadOnlyToTheLetter asks in a live folder, where no read-only
// mount stands before our own answers.
func TestAVersionIsReadOnlyToTheLetter(t *testing.T) {
	s := newPastSource()
	s.land(t, instant(10), s.capture(t, original(t)))
	dir := mountAt(t, workDir(t), func(o *fs.LiveOptions) { o.Past = s }).dir
	sh(t, dir, `echo live >file`)
	scripts := []string{
		`echo x >V/a`, `echo x >>V/a`, `exec 3<>V/a`, `: >V/new`, `truncate -s 0 V/a`, `rm -f V/a`, `rm -rf V/sub`, `rmdir V/empty`,
		`mkdir V/d`, `mv V/a V/b`, `mv -T V/sub V/other`, `mv -T file V/file`, `ln V/a V/b`, `ln -s x V/s`, `chmod 600 V/a`,
		`chown 1 V/a`, `chown -h 1 V/link`, `touch V/a`, `touch -h V/link`, `setfattr -n user.x -v y V/a`,
		`setfattr -x user.color V/a`, `setfacl -m u:1:r V/a`, `mknod V/p p`, `fallocate -l 100 V/a`, `cp /etc/passwd V/a`,
		`cp file V/new`, `dd if=/etc/passwd of=V/a conv=notrunc`,
	}
	for _, version := range []string{".versions/20250201_000010", ".versions/latest"} {
		for _, script := range scripts {
			script = strings.ReplaceAll(script, "V/", version+"/")
			if out, err := trySh(t, dir, script); err == nil || !strings.Contains(out, "Read-only file system") {
				t.Errorf("%s: %v: %s", script, err, out)
			}
		}
	}
	for _, script := range []string{`: >.versions/new`, `mkdir .versions/new`, `rm -f .versions/CACHEDIR.TAG`, `rm .versions/latest`,
		`rmdir .versions/20250201_000010`, `mv .versions/20250201_000010 .versions/x`, `echo >.versions/CACHEDIR.TAG`,
		`touch .versions/20250201_000010`, `mkdir .versions/2030-01-01`} {
		if out, err := trySh(t, dir, script); err == nil || !strings.Contains(out, "Read-only file system") {
			t.Errorf("%s: %v: %s", script, err, out)
		}
	}
	// Nothing leads from one side to the other but a copy.
	for _, script := range []string{`rm -r .versions`, `rmdir .versions`, `mv .versions x`, `mv -T file .versions`, `ln .versions/latest/a a`,
		`mkdir .versions`} {
		if out, err := trySh(t, dir, script); err == nil {
			t.Errorf("%s: %s", script, out)
		}
	}
	if got := sh(t, dir, `cp -a .versions/latest/a back && cat back file && ls -A`); got != "one\nlive\n.versions\nback\nfile\n" {
		t.Errorf("the live folder: %q", got)
	}
}

// TestThePastInALiveFolder has the same versions in a live folder: by name in
// each directory, also in one that a rename has moved.
func TestThePastInALiveFolder(t *testing.T) {
	s := twoStates(t)
	m := mountAt(t, workDir(t), func(o *fs.LiveOptions) { o.Past = s })
	sh(t, m.dir, `mkdir sub new && echo now >sub/f`)
	if got := sh(t, m.dir, `ls -A; ls -A sub; cat sub/.versions/20250201_000010/f sub/.versions/latest/f sub/f; ls new/.versions`); got !=
		".versions\nnew\nsub\nf\noldnewernow\nCACHEDIR.TAG\n" {
		t.Errorf("got %q", got)
	}
	for i := range 3 {
		at := instant(100 + i)
		for _, dir := range s.land(t, at, s.dir(t, "", s.dir(t, "sub", s.file(t, "f", fmt.Sprint("third", i))))) {
			m.NotifyVersions(dir)
		}
		if got := sh(t, m.dir, `readlink sub/.versions/latest; cat sub/.versions/latest/f; ls .versions | tail -2`); got !=
			fmt.Sprintf("%s\nthird%dCACHEDIR.TAG\nlatest\n", at, i) {
			t.Errorf("round %d: %q", i, got)
		}
	}
}

func TestACopyOfAVersionIsTheOriginal(t *testing.T) {
	s := newPastSource()
	from := original(t)
	s.land(t, instant(10), s.capture(t, from))
	dir, _ := mountPast(t, s, withClock)
	version := dir + "/.versions/20250201_000010"
	want, wantSums := sh(t, from, describe), sh(t, from, sums)
	for path, name := range map[string]string{version: "the version", dir: "the mount"} {
		if got := sh(t, path, describe); got != want {
			t.Errorf("%s is not the original:\n%s\nwant\n%s", name, got, want)
		}
		if got := sh(t, path, sums); got != wantSums {
			t.Errorf("%s has other contents:\n%s\nwant\n%s", name, got, wantSums)
		}
	}
	copied := t.TempDir()
	sh(t, version, `cp -a --sparse=auto . "$1"`, copied)
	tarred := t.TempDir()
	sh(t, version, `tar -c --sparse --xattrs --xattrs-include='*' --acls . | tar -x -C "$1" --xattrs --xattrs-include='*' --acls -p --same-owner`, tarred)
	for path, name := range map[string]string{copied: "cp -a", tarred: "tar"} {
		if got := sh(t, path, describe); got != want {
			t.Errorf("%s made\n%s\nwant\n%s", name, got, want)
		}
		if got := sh(t, path, sums); got != wantSums {
			t.Errorf("%s made other contents", name)
		}
		for _, file := range []string{"sparse", "nothing"} {
			if got, want := sh(t, path, `stat -c %b "$1"`, file), sh(t, from, `stat -c %b "$1"`, file); got != want {
				t.Errorf("%s: %s has %s blocks, want %s", name, file, got, want)
			}
		}
	}
	for _, file := range []string{"sparse", "nothing", "large", "zero"} {
		if got, want := holesOf(t, version+"/"+file), holesOf(t, from+"/"+file); !slices.Equal(got, want) {
			t.Errorf("%s has data at %v, want %v", file, got, want)
		}
	}
	if got, want := sh(t, version, `du -s --apparent-size -B1 large; du -B4096 sparse`), sh(t, from, `du -s --apparent-size -B1 large; du -B4096 sparse`); got != want {
		t.Errorf("du: %s, want %s", got, want)
	}
}

func TestPermissionsOfThePastHold(t *testing.T) {
	s := newPastSource()
	from := original(t)
	s.land(t, instant(10), s.capture(t, from))
	dir, _ := mountPast(t, s, withClock, func(o *fs.HistoryMountOptions) {
		if err := unix.Chmod(o.MountPoint, 0o755); err != nil {
			t.Fatal(err)
		}
	})
	// A test's directory lies in one that only we may enter.
	sh(t, "/", `chmod 755 "$1/.." 2>/dev/null; true`, dir)
	user := func(uid int, script string) error {
		_, err := trySh(t, dir, fmt.Sprintf(`setpriv --reuid %d --regid %d --clear-groups sh -c '%s'`, uid, uid, script))
		return err
	}
	version := ".versions/20250201_000010"
	if err := user(1234, "cat "+version+"/sub/b"); err != nil {
		t.Errorf("its owner cannot read it: %v", err)
	}
	if err := user(4321, "cat "+version+"/sub/b"); err == nil {
		t.Error("a stranger reads a file of mode 600")
	}
	if err := user(4321, "cat "+version+"/a"); err != nil {
		t.Errorf("a stranger cannot read a file of mode 644: %v", err)
	}
}

func TestInodeNumbersStay(t *testing.T) {
	s := newPastSource()
	s.land(t, instant(10), s.capture(t, original(t)))
	const list = `find .versions -printf '%i %p\n' | sort -k2`
	var got []string
	for range 2 {
		dir, m := mountPast(t, s, withClock)
		got = append(got, sh(t, dir, list))
		if err := m.Unmount(); err != nil {
			t.Fatal(err)
		}
		m.Wait()
	}
	if got[0] != got[1] {
		t.Errorf("after a restart the numbers are others:\n%s\n%s", got[0], got[1])
	}
	seen := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(got[0]), "\n") {
		ino, path, ok := strings.Cut(line, " ")
		if !ok {
			continue // the rest of a name with a newline in it
		}
		if other := seen[ino]; other != "" && !strings.HasSuffix(path, "hard") {
			t.Errorf("%s and %s have one number", path, other)
		}
		seen[ino] = path
	}
}

func TestVersionsIsNotInsideAVersion(t *testing.T) {
	dir, _ := mountPast(t, twoStates(t), withClock)
	sh(t, dir, `test ! -e .versions/latest/.versions && test ! -e .versions/latest/sub/.versions &&
		test ! -e sub/.versions/latest/.versions && test -e sub/.versions/latest/f`)
}

func TestAMountOfOneInstant(t *testing.T) {
	s := twoStates(t)
	dir, m := mountPast(t, s, withClock, func(o *fs.HistoryMountOptions) { o.At = instant(10) })
	if got := sh(t, dir, `ls -A . sub; cat sub/f`); got != ".:\nother\nsub\n\nsub:\nf\nold" {
		t.Errorf("got %q", got)
	}
	sh(t, dir, `test ! -e .versions`)
	s.land(t, instant(30), s.dir(t, ""))
	m.Landed(instant(30))
	if got := sh(t, dir, `cat sub/f`); got != "old" {
		t.Errorf("it changed: %q", got)
	}
	_, err := fs.MountHistory(t.Context(), fs.HistoryMountOptions{Source: s, MountPoint: t.TempDir(), Folder: "x", At: instant(1)})
	if err == nil {
		t.Error("a state before the first can be mounted")
	}
}

func TestAMountFollowsTheNewestState(t *testing.T) {
	s := newPastSource()
	dir, m := mountPast(t, s, withClock)
	if got := sh(t, dir, `ls -A; ls -A .versions`); got != ".versions\nCACHEDIR.TAG\n" {
		t.Errorf("without a snapshot: %q", got)
	}
	for i := range 3 {
		content := strings.Repeat("x", 100*(i+1))
		s.land(t, instant(i), s.dir(t, "", s.dir(t, "d", s.file(t, "f", content), s.file(t, fmt.Sprint("only", i), "")), s.file(t, "g", content)))
		m.Landed(instant(i))
		time.Sleep(1100 * time.Millisecond)
		want := content + content + fmt.Sprintf("d\ng\nf\nonly%d\n100\n", i)
		want = strings.Replace(want, "\n100\n", fmt.Sprintf("\n%d\n", 100*(i+1)), 1)
		if got := sh(t, dir, `cat d/f g; ls; ls d; stat -c %s d/f`); got != want {
			t.Errorf("round %d: %q, want %q", i, got, want)
		}
	}
	s.land(t, instant(9), s.dir(t, ""))
	m.Landed(instant(9))
	sh(t, dir, `sleep 1.1; test ! -e d && test ! -e g && test -e .versions/20250201_000002/d/f`)
}

func TestInterruptedReadsEnd(t *testing.T) {
	s := twoStates(t)
	s.block = make(chan struct{})
	dir, _ := mountPast(t, s, withClock)
	// Who waits for the page cache is let go at once; a request that somebody
	// waits for himself is interrupted.
	for _, script := range []string{`timeout -s KILL 1 cat .versions/latest/sub/f`,
		`timeout 1 dd iflag=direct bs=4096 if=.versions/latest/sub/f`} {
		out, err := trySh(t, dir, script)
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Errorf("%s: %v, %q", script, err, out)
		}
	}
	if s.called("interrupted") == 0 {
		t.Error("no request was interrupted")
	}
	close(s.block)
	if got := sh(t, dir, `cat .versions/latest/sub/f`); got != "newer" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestAReadThatFailsIsEIO(t *testing.T) {
	s := twoStates(t)
	s.fail = fmt.Errorf("fetch: %w", unix.ECONNREFUSED)
	dir, _ := mountPast(t, s, withClock)
	out, err := trySh(t, dir, `cat .versions/latest/sub/f`)
	if err == nil || !strings.Contains(out, "Input/output error") {
		t.Errorf("%v: %s", err, out)
	}
	s.mu.Lock()
	s.fail = nil
	s.mu.Unlock()
	if got := sh(t, dir, `cat .versions/latest/sub/f`); got != "newer" {
		t.Errorf("afterwards: %q", got)
	}
}

func TestNodesAreForgotten(t *testing.T) {
	s := newPastSource()
	s.land(t, instant(10), s.capture(t, original(t)))
	dir, m := mountPast(t, s, withClock)
	sh(t, dir, `find . -ls >/dev/null; find .versions/ -ls >/dev/null`)
	before := m.Stats().Nodes
	if before < 40 {
		t.Errorf("%d nodes after a walk", before)
	}
	for range 50 {
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil { // drops what is unused
			t.Fatal(err)
		}
		sh(t, "/", `echo 2 >/proc/sys/vm/drop_caches`)
		if m.Stats().Nodes < before/4 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if after := m.Stats().Nodes; after >= before/4 {
		t.Errorf("%d nodes of %d are left", after, before)
	}
}
