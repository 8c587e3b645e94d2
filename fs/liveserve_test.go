//go:build linux

package fs_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/syncfs/syncfs/fs"
	"golang.org/x/sys/unix"
)

// Requests that wait for a network hold up nobody else, however many there are,
// and who made them can be killed.
func TestRequestsThatWaitHoldUpNobody(t *testing.T) {
	s := twoStates(t)
	s.block = make(chan struct{})
	m := mountAt(t, workDir(t), func(o *fs.LiveOptions) { o.Past = s })
	must(t, os.Mkdir(m.dir+"/sub", 0o755))
	const waiting = 20
	var readers []*exec.Cmd
	for range waiting {
		// Directly, so that each waits in a request of its own.
		cmd := exec.Command("dd", "iflag=direct", "bs=4096", "status=none", "if="+m.dir+"/.versions/20250201_000020/sub/f")
		must(t, cmd.Start())
		readers = append(readers, cmd)
	}
	eventually(t, "all reads wait", func() bool { return s.called("blocked") >= waiting })
	begin := time.Now()
	for i := range 200 {
		write(t, fmt.Sprintf("%s/f%d", m.dir, i), "x")
		var st unix.Stat_t
		must(t, unix.Stat(fmt.Sprintf("%s/f%d", m.dir, i), &st))
	}
	t.Logf("200 files beside %d waiting reads took %v", waiting, time.Since(begin))
	for _, cmd := range readers[:waiting/2] {
		must(t, cmd.Process.Kill())
		cmd.Wait()
	}
	close(s.block)
	for _, cmd := range readers[waiting/2:] {
		must(t, cmd.Wait())
	}
}

// The end of the connection ends what still waits.
func TestAMountEndsWhileARequestWaits(t *testing.T) {
	s := twoStates(t)
	s.block = make(chan struct{})
	m := mountAt(t, workDir(t), func(o *fs.LiveOptions) { o.Past = s })
	cmd := exec.Command("dd", "iflag=direct", "bs=4096", "status=none", "if="+m.dir+"/.versions/20250201_000020/sub/f")
	must(t, cmd.Start())
	eventually(t, "the read waits", func() bool { return s.called("blocked") > 0 })
	var st unix.Stat_t
	must(t, unix.Stat(m.dir, &st))
	must(t, os.WriteFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/abort", unix.Minor(st.Dev)), []byte("1"), 0))
	select {
	case <-m.Done():
	case <-time.After(10 * time.Second):
		t.Error("the mount waits for a request that nobody waits for")
	}
	cmd.Wait()
}

// Many programs at once are served by many readers.
func TestManyProgramsAtOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		script := `mkdir "$1" && cd "$1" && i=0 && while [ $i -lt 30 ]; do echo $i >f$i && cat f$i >/dev/null && mv f$i g$i && i=$((i+1)); done && [ $(ls | wc -l) = 30 ] && rm -r ../"$1"`
		var all []*exec.Cmd
		for i := range 8 {
			cmd := exec.Command("sh", "-c", script, "sh", fmt.Sprint("dir", i))
			cmd.Dir = m.disk.Path()
			cmd.Stderr = os.Stderr
			must(t, cmd.Start())
			all = append(all, cmd)
		}
		for _, cmd := range all {
			must(t, cmd.Wait())
		}
		entries, err := os.ReadDir(m.dir)
		must(t, err)
		if len(entries) != 0 {
			t.Errorf("left: %v", entries)
		}
	})
}
