//go:build linux

package fs_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// helper is what the tests let another process do with a mount: this one serves
// it, and must not block on it where Go cannot go on (page faults, exec).
func helper(what string, args []string) error {
	switch what {
	case "poll":
		fds := []unix.PollFd{{Fd: 0, Events: unix.POLLIN}}
		unix.Poll(fds, 0)
		return nil
	case "map":
		return mapAndStore(args[0])
	case "write-on":
		return writeOn(args[0])
	case "lock":
		return lockWait(args[0])
	case "watch":
		return watch(args[0])
	case "fsx":
		return fsx(args[0], args[1])
	}
	return fmt.Errorf("no helper %s", what)
}

// session is a helper that is talked to by lines.
type session struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startHelper(t *testing.T, dir string, args ...string) *session {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"__helper"}, args...)...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	s := &session{t, cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return s
}

func (s *session) expect(want string) {
	s.t.Helper()
	if got := s.line(); got != want {
		s.t.Fatalf("the helper says %q, want %q", got, want)
	}
}

func (s *session) line() string {
	s.t.Helper()
	line, err := s.out.ReadString('\n')
	if err != nil {
		s.t.Fatalf("the helper ended after %q: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (s *session) say(line string) {
	s.t.Helper()
	_, err := fmt.Fprintln(s.in, line)
	must(s.t, err)
}

func lines(f func(line string) error) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := f(in.Text()); err != nil {
			return err
		}
		fmt.Println("done")
	}
	return in.Err()
}

// mapAndStore maps a file shared, closes it, and stores one byte per line.
func mapAndStore(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	mem, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	unix.Close(fd)
	fmt.Println("mapped")
	err = lines(func(line string) error { mem[0] = line[0]; return nil })
	unix.Munmap(mem)
	return err
}

// writeOn opens a file and appends each line to it.
func writeOn(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	fmt.Println("open")
	return lines(func(line string) error { _, err := unix.Write(fd, []byte(line+"\n")); return err })
}

// lockWait takes an exclusive lock, waiting for it.
func lockWait(path string) error {
	fd, err := unix.Open(path, unix.O_RDWR, 0)
	if err != nil {
		return err
	}
	fmt.Println("waiting")
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		return err
	}
	fmt.Println("locked")
	return lines(func(string) error { return nil })
}

// watch prints the inotify events of a directory.
func watch(dir string) error {
	fd, err := unix.InotifyInit1(0)
	if err != nil {
		return err
	}
	const events = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ATTRIB
	if _, err := unix.InotifyAddWatch(fd, dir, events); err != nil {
		return err
	}
	fmt.Println("watching")
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			return err
		}
		for b := buf[:n]; len(b) > 0; {
			e := (*unix.InotifyEvent)(unsafe.Pointer(&b[0]))
			name := strings.TrimRight(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+e.Len]), "\x00")
			fmt.Printf("%s %s\n", eventName(e.Mask), name)
			b = b[unix.SizeofInotifyEvent+e.Len:]
		}
	}
}

func eventName(mask uint32) string {
	for _, e := range []struct {
		mask uint32
		name string
	}{
		{unix.IN_CREATE, "create"}, {unix.IN_DELETE, "delete"}, {unix.IN_MOVED_FROM, "from"},
		{unix.IN_MOVED_TO, "to"}, {unix.IN_ATTRIB, "attrib"},
	} {
		if mask&e.mask != 0 {
			return e.name
		}
	}
	return "other"
}

// eventually waits for something that takes its time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 20 s: %s", what)
		}
	}
}
