//go:build linux

package faults

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/tests/world"
)

// pair is a server and two homes with one folder, together; saved is a copy of
// the server's data as it is then.
type pair struct {
	t          *testing.T
	srv        *world.Server
	a, b       *world.Home
	dirA, dirB string
	saved      string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, dirB: filepath.Join(t.TempDir(), "docs"), saved: filepath.Join(t.TempDir(), "saved")}
	p.srv, p.a, p.dirA = setUp(t, "", "")
	for i := range 20 {
		write(t, p.dirA, fmt.Sprintf("f%02d", i), fmt.Sprint("content ", i))
	}
	p.a.Run("flush")
	p.b = world.NewHome(t, "")
	p.b.Connect(p.srv)
	p.b.StartAgent()
	p.b.Run("get", "docs", p.dirB, "--no-mount")
	p.save()
	return p
}

func (p *pair) save() {
	p.t.Helper()
	p.srv.Stop()
	copyTree(p.t, p.srv.Data, p.saved)
	p.srv.Start()
}

// restore puts a copy of the server's data in place of what it has.
func (p *pair) restore(from string) {
	p.t.Helper()
	p.srv.Stop()
	copyTree(p.t, from, p.srv.Data)
	p.srv.Start()
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
}

// says waits until status of a home, with this exit code, has a text.
func says(t *testing.T, h *world.Home, code int, text string) string {
	t.Helper()
	var out string
	world.Eventually(t, patience, "status says "+text, func() error {
		var got int
		if out, _, got = h.Try("status"); got != code || !strings.Contains(out, text) {
			return fmt.Errorf("exit code %d\n%s", got, out)
		}
		return nil
	})
	return out
}

// equal waits until both machines are safe and hold the same, and a third gets
// the same from the server alone.
func (p *pair) equal() string {
	p.t.Helper()
	safe(p.t, p.a)
	safe(p.t, p.b)
	world.Eventually(p.t, patience, "both hold the same", func() error {
		a, err := world.TryDescribe(p.dirA, "", false)
		if err != nil {
			return err
		}
		b, err := world.TryDescribe(p.dirB, "", false)
		if err == nil && a != b {
			err = fmt.Errorf("%s", world.Differences(a, b))
		}
		return err
	})
	fresh := world.NewHome(p.t, "")
	fresh.Connect(p.srv)
	fresh.Run("check", "--read-data")
	out := filepath.Join(p.t.TempDir(), "out")
	fresh.Run("restore", "docs:@latest", "--target", out)
	if d := world.Differences(world.DescribeContent(p.t, out), world.DescribeContent(p.t, p.dirB)); d != "" {
		p.t.Errorf("another machine gets other files:\n%s", d)
	}
	if list, err := filepath.Glob(filepath.Join(p.dirA, "*conflict*")); err != nil || len(list) > 0 {
		p.t.Errorf("conflict copies: %v, %v", list, err)
	}
	return out
}

func (p *pair) want(name, content string) {
	p.t.Helper()
	for _, dir := range []string{p.dirA, p.dirB} {
		if err := has(dir, name, content); err != nil {
			p.t.Error(err)
		}
	}
}

func TestAServerRestoredFromAnOldCopyIsAccepted(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPair(t)
	big := make([]byte, 3<<20)
	rand.New(rand.NewSource(1)).Read(big)
	write(t, p.dirA, "f01", "edited since")
	write(t, p.dirA, "new", "made since")
	write(t, p.dirA, "big", string(big))
	if err := os.Remove(filepath.Join(p.dirA, "f02")); err != nil {
		t.Fatal(err)
	}
	p.a.Run("flush")
	p.equal()
	p.restore(p.saved)

	for _, h := range []*world.Home{p.a, p.b} {
		out := says(t, h, 3, "restored from an old copy")
		if !strings.Contains(out, "`syncfs remote accept docs --dry-run` tells") {
			t.Errorf("status:\n%s", out)
		}
	}
	p.want("new", "made since")
	p.want("f01", "edited since")
	write(t, p.dirA, "late", "made while it is refused")
	world.Eventually(t, patience, "it is captured", func() error { return has(p.dirA, ".versions/latest/late", "made while it is refused") })

	out := p.a.Run("remote", "accept", "docs", "--dry-run")
	if !strings.Contains(out, "4 files would be sent again, 1 file would be brought here, 0 conflict copies made; nothing would be deleted") {
		t.Errorf("remote accept --dry-run:\n%s", out)
	}
	says(t, p.a, 3, "restored from an old copy")
	p.a.Run("remote", "accept")
	p.a.Run("flush")
	p.want("f03", "content 3")
	if _, err := os.Lstat(filepath.Join(p.dirB, "late")); err == nil {
		t.Error("the other machine has taken it without a word")
	}
	says(t, p.b, 3, "restored from an old copy")
	p.b.Run("remote", "accept", "docs")
	p.equal()
	p.want("new", "made since")
	p.want("f01", "edited since")
	p.want("big", string(big))
	p.want("late", "made while it is refused")
	p.want("f02", "content 2") // never deletes: what was deleted since comes back
	if out := p.a.Run("remote", "accept"); !strings.Contains(out, "as this machine left it") {
		t.Errorf("accepted again:\n%s", out)
	}
}

// The numbers say nothing any more when others have gone on from the old copy.
func TestAServerThatOthersWentOnWithIsStillRefused(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPair(t)
	write(t, p.dirA, "new", "made since")
	p.a.Run("flush")
	p.equal()
	p.a.StopAgent()
	p.restore(p.saved)
	says(t, p.b, 3, "restored from an old copy")
	p.b.Run("remote", "accept")
	for i := range 5 {
		write(t, p.dirB, "more", fmt.Sprint("more ", i))
		if err := os.RemoveAll(filepath.Join(p.dirB, fmt.Sprintf("f1%d", i))); err != nil {
			t.Fatal(err)
		}
		p.b.Run("flush")
	}
	p.a.StartAgent()
	says(t, p.a, 3, "does not descend from")
	for i := range 5 {
		if err := has(p.dirA, fmt.Sprintf("f1%d", i), fmt.Sprint("content 1", i)); err != nil {
			t.Error(err)
		}
	}
	p.a.Run("remote", "accept")
	p.equal()
	p.want("new", "made since")
	p.want("more", "more 4")
	p.want("f13", "content 13")
}

func TestAServerThatLostTheFolderGetsItAgain(t *testing.T) {
	t.Parallel()
	srv := world.NewServer(t, "")
	p := &pair{t: t, srv: srv, a: world.NewHome(t, ""), saved: filepath.Join(t.TempDir(), "saved")}
	p.a.Init(srv)
	p.save()
	p.a.StartAgent()
	p.dirA, p.dirB = filepath.Join(t.TempDir(), "docs"), filepath.Join(t.TempDir(), "docs")
	if err := os.Mkdir(p.dirA, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, p.dirA, "first", "first")
	p.a.Run("add", p.dirA)
	p.a.Run("flush")
	p.b = world.NewHome(t, "")
	p.b.Connect(srv)
	p.b.StartAgent()
	p.b.Run("get", "docs", p.dirB)
	p.equal()
	p.restore(p.saved)
	says(t, p.a, 3, "not in the repository any more")
	write(t, p.dirA, "second", "second")
	p.a.Run("remote", "accept")
	p.a.Run("flush")
	says(t, p.b, 3, "remote accept")
	write(t, p.dirB, "third", "third")
	p.b.Run("remote", "accept")
	p.equal()
	for _, name := range []string{"first", "second", "third"} {
		p.want(name, name)
	}
}

func TestAServerThatWasMadeAnewIsAnotherRepository(t *testing.T) {
	t.Parallel() // most of it is waiting
	p := newPair(t)
	p.srv.Stop()
	if err := os.RemoveAll(p.srv.Data); err != nil {
		t.Fatal(err)
	}
	p.srv.Start()
	says(t, p.a, 3, "nor any other: is its disk mounted?")
	world.NewHome(t, "").Init(p.srv)
	for _, h := range []*world.Home{p.a, p.b} {
		out := says(t, h, 3, "but another (")
		if !strings.Contains(out, "begin anew: `syncfs disconnect --force`, then `syncfs connect`") || strings.Contains(out, "remote accept") {
			t.Errorf("status:\n%s", out)
		}
		if _, errs, code := h.Try("remote", "accept"); code != 1 || !strings.Contains(errs, "this cannot be accepted") {
			t.Errorf("remote accept: exit code %d\n%s", code, errs)
		}
	}
	p.want("f07", "content 7")
	p.want("first", "first")
	// What it says is what helps.
	p.a.StopAgent()
	p.a.Run("disconnect", "--force")
	p.a.Connect(p.srv)
	p.a.StartAgent()
	p.a.Run("add", p.dirA)
	p.a.Run("flush")
	elsewhere(t, p.srv, map[string]string{"f07": "content 7", "first": "first"})
}
