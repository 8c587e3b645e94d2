//go:build linux

// Package mainjob tries the product's main promise on the built binary: work in
// a mounted folder, find every state again, get everything back elsewhere.
package mainjob

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/tests/world"
)

// tricky makes one of everything that is kept.
const tricky = `
	umask 022
	mkdir -p a/b/c empty 'with space' "$(printf 'not\xffutf8')" deep
	: > zero
	echo hello > a/hello; echo "#!/bin/sh" > a/run; chmod 755 a/run
	head -c 3000000 /dev/urandom > a/b/random.bin
	{ yes compressible || true; } | head -c 5000000 > a/b/text
	ln -s ../hello a/b/link; ln -s /does/not/exist dangling; ln -s "$(printf 'x%.0s' $(seq 1 200))" longlink
	ln a/hello a/b/hard; ln a/hello hard2
	truncate -s 100G sparse; printf start | dd of=sparse conv=notrunc status=none; printf end | dd of=sparse bs=1 seek=100000000000 conv=notrunc status=none
	printf 'x' > "$(printf 'bytes\xfe\xff')"; printf 'y' > "$(printf 'new\nline')"; printf z > "$(printf 'n%.0s' $(seq 1 255))"
	setfattr -n user.colour -v blue a/hello; setfattr -n user.colour -v red a/run; setfattr -n user.dir -v 1 a/b
	setfacl -m u:12345:rw a/run; setfacl -d -m g:54321:rx a/b
	chmod 4755 a/run; chmod 2770 a/b/c; chmod 1777 'with space'; chmod 000 zero
	chown 1234:4321 a/hello; chown -h 55:66 dangling
	touch -d '1999-12-31 23:59:59.123456789' a/b/text; touch -h -d '2001-01-01 01:01:01.5' dangling
	d=deep; for i in $(seq 1 40); do d=$d/$i; done; mkdir -p $d; echo bottom > $d/file
	touch -d '2011-11-11 11:11:11.111111111' a/b a empty
`

func start(t *testing.T) (*world.Server, *world.Home, string) {
	t.Helper()
	srv := world.NewServer(t, "")
	h := world.NewHome(t, "")
	h.Init(srv)
	h.StartAgent()
	dir := h.Path("Documents")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return srv, h, dir
}

// sameTrees compares all but the bytes of the 100 GB sparse file, whose content
// is compared by its ends.
func sameTrees(t *testing.T, got, want string) {
	t.Helper()
	for _, d := range []string{got, want} {
		out := world.Sh(t, d, `stat -c '%s' sparse; head -c 5 sparse; dd if=sparse bs=1 skip=100000000000 count=3 status=none; [ $(stat -c %b sparse) -lt 1000 ] && echo holes`)
		if want := "107374182400\nstartendholes\n"; out != want {
			t.Fatalf("sparse in %s: got %q, want %q", d, out, want)
		}
	}
	g, w := world.DescribeBut(t, got, "sparse"), world.DescribeBut(t, want, "sparse")
	if g != w {
		t.Fatal(world.Differences(g, w))
	}
}

func TestEverythingComesBackOnAnotherMachine(t *testing.T) {
	srv, h, dir := start(t)
	world.Sh(t, dir, tricky)
	plain := filepath.Join(t.TempDir(), "plain")
	world.Sh(t, dir, `cp -a --sparse=always . "$PLAIN"`, "PLAIN="+plain)
	h.Run("add", dir, "--name", "docs")
	h.Run("flush", "docs", "--timeout", "120s")
	sameTrees(t, dir, plain) // adding changed nothing

	other := world.NewHome(t, "")
	other.Connect(srv)
	other.StartAgent()
	got := other.Path("Documents")
	other.Run("get", "docs", got)
	sameTrees(t, got, plain)

	// Through the mount, and followed by the other machine.
	world.Sh(t, dir, `mkdir new && echo more > new/file && mv a/b/random.bin new/ && rm hard2 && echo changed >> a/hello && chmod 640 a/b/text && mv empty full && ln -sfn elsewhere dangling
		setfattr -x user.colour a/run && setfattr -x user.colour a/hello && setfattr -x user.dir a/b && setfacl -b a/run && setfacl -k a/b && chown 7:8 a/b/text && mkdir q && rmdir q`)
	made := world.DescribeBut(t, dir, "sparse")
	h.Run("flush", "docs", "--timeout", "120s")
	world.Eventually(t, 90*time.Second, "the other machine follows", func() error {
		g, err := world.TryDescribe(got, "sparse", true)
		if err != nil {
			return err // it is changing just now
		}
		if w := world.DescribeBut(t, dir, "sparse"); g != w {
			return errors.New(world.Differences(g, w))
		}
		return nil
	})
	if now := world.DescribeBut(t, dir, "sparse"); now != made {
		t.Errorf("what only followed has changed something here:\n%s", world.Differences(now, made))
	}

	out := filepath.Join(t.TempDir(), "restored")
	h.Run("restore", dir+"@latest", "--target", out)
	sameTrees(t, out, dir)
	h.Run("check", "--read-data")
}

type change struct {
	Instant string    `json:"instant"`
	Time    time.Time `json:"time"`
	Size    int64     `json:"size"`
	Host    string    `json:"host"`
	User    string    `json:"user"`
	Change  string    `json:"change"`
}

func TestOldFilesAreCopiedOutOfVersions(t *testing.T) {
	_, h, dir := start(t)
	h.Run("add", dir, "--name", "docs")
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	var contents []string
	for i := range 4 {
		text := fmt.Sprintf("the report, draft %d\n", i)
		contents = append(contents, text)
		if err := os.WriteFile(filepath.Join(sub, "report.txt"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		h.Run("flush", "docs")
		if err := os.WriteFile(filepath.Join(dir, "unrelated"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		h.Run("flush", "docs")
	}
	var list []change
	h.JSON(&list, "versions", filepath.Join(sub, "report.txt"))
	if len(list) != 4 {
		t.Fatalf("versions of report.txt: %d, want 4: %v", len(list), list)
	}
	for i, v := range list {
		data, err := os.ReadFile(filepath.Join(sub, ".versions", v.Instant, "report.txt"))
		if err != nil || string(data) != contents[i] {
			t.Errorf("%s: got %q, %v, want %q", v.Instant, data, err, contents[i])
		}
		if got := h.Run("cat", filepath.Join(sub, "report.txt")+"@"+v.Instant); got != contents[i] {
			t.Errorf("cat @%s: got %q, want %q", v.Instant, got, contents[i])
		}
		if v.Host == "" || v.User == "" || v.Size != int64(len(contents[i])) {
			t.Errorf("incomplete: %+v", v)
		}
	}
	// The directory's own list leaves out what changed elsewhere.
	names := strings.Fields(world.Sh(t, sub, `ls .versions | grep '^[0-9]'`))
	if len(names) < 4 || len(names) > 5 { // the empty directory may have been a state of its own
		t.Errorf("sub/.versions lists %q, want the 4 or 5 instants at which sub changed", names)
	}
	if got := world.Sh(t, sub, `ls -a`); strings.Contains(got, ".versions") {
		t.Error(".versions is listed in a subdirectory")
	}
	if got := world.Sh(t, dir, `ls -a; cp sub/.versions/latest/report.txt copy; cat copy`); !strings.Contains(got, ".versions") || !strings.HasSuffix(got, contents[3]) {
		t.Errorf("got %q", got)
	}
}

// Random changes through the mount: the tree is that of a plain directory, and
// every flushed state is found again, byte for byte.
func TestEveryFlushedStateIsFoundAgain(t *testing.T) {
	_, h, dir := start(t)
	h.Run("add", dir, "--name", "docs")
	twin := filepath.Join(t.TempDir(), "twin")
	if err := os.Mkdir(twin, 0o755); err != nil {
		t.Fatal(err)
	}
	state := map[string]string{} // instant -> description
	rapid.Check(t, func(rt *rapid.T) {
		names := rapid.SampledFrom([]string{"a", "b", "c", "d/a", "d/b", "d/e/a", "d", "d/e", "f"})
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			script := step(rt, names)
			for _, d := range []string{dir, twin} {
				world.Sh(t, d, "("+script+") 2>/dev/null || true")
			}
		}
		g, w := world.DescribeContent(t, dir), world.DescribeContent(t, twin)
		if g != w {
			rt.Fatalf("the mount and the plain directory differ:\n%s", world.Differences(g, w))
		}
		h.Run("flush", "docs")
		if _, _, code := h.Try("confirm", "docs"); code == 0 { // most files were deleted in ten minutes
			h.Run("flush", "docs")
		}
		if now := world.DescribeContent(t, dir); now != g {
			rt.Fatalf("flush changed the folder:\n%s", world.Differences(now, g))
		}
		var list []change
		h.JSON(&list, "versions", dir)
		if len(list) > 0 {
			state[list[len(list)-1].Instant] = g
		}
	})
	if len(state) < 5 {
		t.Fatalf("only %d states", len(state))
	}
	for instant, want := range state {
		// An instant at which only the root's own times changed is a link to the
		// one before.
		version, err := filepath.EvalSymlinks(filepath.Join(dir, ".versions", instant))
		if err != nil {
			t.Fatal(err)
		}
		if got := world.DescribeContent(t, version); got != want {
			t.Errorf("%s differs:\n%s", instant, world.Differences(got, want))
		}
	}
}

func step(rt *rapid.T, names *rapid.Generator[string]) string {
	a, b := names.Draw(rt, "a"), names.Draw(rt, "b")
	n := rapid.IntRange(0, 200_000).Draw(rt, "n")
	return rapid.SampledFrom([]string{
		fmt.Sprintf("mkdir -p $(dirname %s) && seq 1 %d > %s", a, n/10, a),
		fmt.Sprintf("echo %d >> %s", n, a),
		fmt.Sprintf("mv -T %s %s", a, b),
		fmt.Sprintf("rm -rf %s", a),
		fmt.Sprintf("mkdir -p %s", a),
		fmt.Sprintf("ln %s %s", a, b),
		fmt.Sprintf("ln -s %s %s", a, b),
		fmt.Sprintf("chmod %o %s", 0o400|n%0o400, a),
		fmt.Sprintf("truncate -s %d %s", n, a),
		fmt.Sprintf("printf %d | dd of=%s bs=1 seek=%d conv=notrunc,nocreat", n, a, n/2),
		fmt.Sprintf("seq 1 %d > t.tmp && mv t.tmp %s", n/100, a),
		fmt.Sprintf("setfattr -n user.n -v %d %s", n, a),
	}).Draw(rt, "step")
}
