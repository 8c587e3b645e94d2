package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

// serverDir tells this binary, started by a test, to be a server.
const serverDir = "SYNCFS_TEST_SERVER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverDir); dir != "" {
		if err := serveForEver(dir, os.Getenv("SYNCFS_TEST_SERVER_ADDR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func serveForEver(dir, addr string) error {
	data, err := remote.OpenData(dir, remote.DataOptions{})
	if err != nil {
		return err
	}
	if err := data.Tokens.Grant("test", remote.RoleAdmin, testKey); err != nil {
		return err
	}
	server, err := remote.NewServer(data.ServerOptions())
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	return server.Serve(context.Background(), ln, nil)
}

// process is a server in a process of its own.
type process struct {
	t    testing.TB
	dir  string
	addr string
	cmd  *exec.Cmd
}

func (p *process) start() {
	p.t.Helper()
	executable, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), serverDir+"="+p.dir, "SYNCFS_TEST_SERVER_ADDR="+p.addr)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.cmd = cmd
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.t.Fatalf("the server did not start: %v", err)
	}
	p.addr = strings.TrimSpace(line)
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait() // says that it was killed
		p.cmd = nil
	}
}

func TestAServerThatIsKilledLosesNothingAcknowledged(t *testing.T) {
	p := &process{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	p.start()
	t.Cleanup(p.kill)
	c := newClient(t, remote.ClientOptions{URL: "http://" + p.addr, Key: testKey, Tries: 50}, nil)

	// What is acknowledged, written down outside the server.
	var mu sync.Mutex
	acknowledged := map[string]uint64{}
	heads := map[string]uint64{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group errgroup.Group
	for worker := range 3 {
		group.Go(func() error {
			for i := 0; ctx.Err() == nil; i++ {
				seed := uint64(worker)<<32 | uint64(i)
				name := fmt.Sprintf("packs/%d-%d", worker, i)
				data := object(seed)
				if err := c.Put(ctx, name, bytes.NewReader(data), int64(len(data))); err != nil {
					if ctx.Err() != nil {
						return nil
					}
					return err
				}
				mu.Lock()
				acknowledged[name] = seed
				mu.Unlock()
			}
			return nil
		})
	}
	group.Go(func() error {
		for number := uint64(0); ctx.Err() == nil; {
			head, err := c.Commit(ctx, "folder", blob.Commit{
				Expect: number, Sealed: []byte("x"), ID: strings.Repeat("ab", 32), Record: []byte("record"),
			})
			switch {
			case err == nil:
				number = head.Number
				mu.Lock()
				heads["folder"] = number
				mu.Unlock()
			case ctx.Err() == nil: // in doubt: what does the head say?
				if head, err := c.Head(ctx, "folder"); err == nil {
					number = head.Number
				} else if errors.Is(err, fs.ErrNotExist) {
					number = 0
				}
			}
		}
		return nil
	})
	for range 6 {
		time.Sleep(250 * time.Millisecond)
		p.kill()
		p.start()
	}
	cancel()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(acknowledged) < 10 {
		t.Fatalf("only %d objects were stored", len(acknowledged))
	}
	checkAll(t, c, acknowledged)
	head, err := c.Head(t.Context(), "folder")
	if err != nil || head.Number < heads["folder"] {
		t.Errorf("head is %d, %v; %d was acknowledged", head.Number, err, heads["folder"])
	}
	records := 0
	err = c.List(t.Context(), "snapshots/folder/", "", func(i blob.Info) error {
		records++
		if i.Size != int64(len("record")) {
			t.Errorf("%s has %d bytes", i.Name, i.Size)
		}
		return nil
	})
	if err != nil || uint64(records) != head.Number {
		t.Errorf("%d records for head number %d, %v", records, head.Number, err)
	}
	t.Logf("%d objects and %d commits over 6 kills", len(acknowledged), head.Number)
}

// object is the content of an object, which tells by itself whether it is whole.
func object(seed uint64) []byte {
	size := 1 + int(seed*2654435761%(4<<20))
	return randomBytes(seed, size)
}

// checkAll looks that all that was acknowledged is there, and that nothing
// that is there is half an object.
func checkAll(t *testing.T, c *remote.Client, acknowledged map[string]uint64) {
	t.Helper()
	there := map[string]bool{}
	err := c.List(t.Context(), "packs/", "", func(i blob.Info) error {
		var worker, n uint64
		if _, err := fmt.Sscanf(i.Name, "packs/%d-%d", &worker, &n); err != nil {
			return err
		}
		there[i.Name] = true
		if got := readAll(t, c, i.Name); !bytes.Equal(got, object(worker<<32|n)) {
			t.Errorf("%s is damaged: %d bytes", i.Name, len(got))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range acknowledged {
		if !there[name] {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
}

func TestAnUploadGoesOnAfterTheServerWasKilled(t *testing.T) {
	p := &process{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	p.start()
	t.Cleanup(p.kill)
	c := newClient(t, remote.ClientOptions{URL: "http://" + p.addr, Key: testKey, Tries: 50, UploadLimit: 16 << 20}, nil)
	const size = 12 << 20
	data := randomBytes(10, size)
	var once sync.Once
	var sent, again int64
	restarted := make(chan struct{})
	ctx := remote.WithProgress(t.Context(), func(n int64) {
		if sent += n; n < 0 {
			again -= n
		}
		if sent > size/2 {
			once.Do(func() {
				go func() { defer close(restarted); p.kill(); p.start() }()
			})
		}
	})
	if err := c.Put(ctx, "packs/a", bytes.NewReader(data), size); err != nil {
		t.Fatal(err)
	}
	<-restarted
	if got := readAll(t, c, "packs/a"); !bytes.Equal(got, data) {
		t.Error("the object arrived other than it was sent")
	}
	if again > size/3 {
		t.Errorf("%d of %d bytes were sent again", again, size)
	}
	t.Logf("%d of %d bytes were sent again", again, size)
	if _, err := c.Stat(t.Context(), "packs/b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat: %v", err)
	}
}
