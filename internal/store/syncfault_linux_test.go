package store_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
)

// childEnv names the directory of a machine that a child of this process is.
const childEnv = "SYNCFS_TEST_SPOOL"

// secret gives parent and child the same keys.
func secret() *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte("k"), 1<<16)) }

func childMachine(t *testing.T, dir string) *machine {
	keys, err := seal.NewKeys(secret())
	must(t, err)
	return &machine{t: t, remote: blob.NewMem(nil), keys: keys, o: store.Options{SpoolDir: filepath.Join(dir, "spool")}}
}

// TestSpoolChild is what the child does: what the lines of its input say.
func TestSpoolChild(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return // not the child
	}
	s := childMachine(t, dir).open()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var err error
		switch in.Text() {
		case "put":
			for i := range 20 {
				if _, err = s.Put(t.Context(), chunk.Data, text(i, 5000)); err != nil {
					break
				}
			}
		case "flush":
			err = s.Flush(t.Context())
		}
		fmt.Printf("answer: %v\n", err)
	}
}

// child is a process with a store, that strace can make suffer.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func startChild(t *testing.T, dir string) *child {
	c := &child{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestSpoolChild$")}
	c.cmd.Env = append(os.Environ(), childEnv+"="+dir)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	must(t, err)
	out, err := c.cmd.StdoutPipe()
	must(t, err)
	c.in, c.out = in, bufio.NewScanner(out)
	must(t, c.cmd.Start())
	t.Cleanup(c.kill)
	return c
}

func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

// do has the child do something and returns its answer, "<nil>" when it went
// well.
func (c *child) do(what string) string {
	c.t.Helper()
	fmt.Fprintln(c.in, what)
	for c.out.Scan() {
		if answer, ok := strings.CutPrefix(c.out.Text(), "answer: "); ok {
			return answer
		}
	}
	c.t.Fatalf("the child has ended at %q", what)
	return ""
}

// failing lets every sync of the child fail until the function returned is
// called.
func (c *child) failing(errno string) (stop func()) {
	c.t.Helper()
	strace := exec.Command("strace", "-f", "-p", fmt.Sprint(c.cmd.Process.Pid), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error="+errno)
	said, err := strace.StderrPipe()
	must(c.t, err)
	if err := strace.Start(); err != nil {
		c.t.Fatalf("strace (package strace): %v", err)
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.Contains(lines.Text(), "attached") {
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, said)
	}()
	time.Sleep(100 * time.Millisecond) // for the other threads
	return func() {
		strace.Process.Signal(os.Interrupt)
		<-drained
		strace.Wait()
	}
}

func inodes(t *testing.T, dir, suffix string) (infos []os.FileInfo) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() != "lock" && e.Name() != "reserve" && (suffix == "" || strings.HasSuffix(e.Name(), suffix)) {
			info, err := e.Info()
			must(t, err)
			infos = append(infos, info)
		}
	}
	return infos
}

func TestAFailedSyncIsNeverDurable(t *testing.T) {
	for _, errno := range []string{"EIO", "ENOSPC"} {
		t.Run(errno, func(t *testing.T) {
			dir := t.TempDir()
			c := startChild(t, dir)
			if a := c.do("put"); a != "<nil>" {
				t.Fatalf("Put: %s", a)
			}
			stop := c.failing(errno)
			for range 2 {
				if a := c.do("flush"); a == "<nil>" {
					t.Fatal("Flush says that what could not be synced is durable")
				}
			}
			doubtful := inodes(t, filepath.Join(dir, "spool"), "")
			stop()
			if a := c.do("flush"); a != "<nil>" {
				t.Fatalf("Flush once the disk works again: %s", a)
			}
			packs := inodes(t, filepath.Join(dir, "spool"), ".pack")
			if len(packs) != 1 {
				t.Fatalf("packs %v", packs)
			}
			for _, d := range doubtful {
				if os.SameFile(d, packs[0]) {
					t.Error("the file whose sync had failed was synced once more, which proves nothing: the kernel tells an error once")
				}
			}
			c.kill()
			s := childMachine(t, dir).open()
			for i := range 20 {
				wantChunk(t, s, chunk.Data, put(t, s, chunk.Data, text(i, 5000)), text(i, 5000))
			}
			must(t, s.Flush(t.Context()))
			if names, _ := s.Pending(); len(names) != 1 {
				t.Errorf("pending %v: what was flushed was put again", names)
			}
		})
	}
}
