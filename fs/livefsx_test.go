//go:build linux

package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRandomReadsAndWritesOfOneFileAgree is fsx: writes, appends, truncations,
// mappings, holes and copies of one file, each checked against memory.
func TestRandomReadsAndWritesOfOneFileAgree(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		for seed := range 3 {
			out, err := exec.Command(os.Args[0], "__helper", "fsx", m.dir+"/file-"+strconv.Itoa(seed), strconv.Itoa(seed)).CombinedOutput()
			if err != nil {
				t.Fatalf("seed %d: %v: %s", seed, err, out)
			}
		}
	})
}

const fsxMax = 256 << 10

type fsxFile struct {
	path string
	fds  []int // two opens of one file
	want []byte
	rnd  *rand.Rand
}

func fsx(path, seed string) error {
	n, err := strconv.Atoi(seed)
	if err != nil {
		return err
	}
	f := &fsxFile{path: path, rnd: rand.New(rand.NewSource(int64(n)))}
	for i := range 1500 {
		if len(f.fds) == 0 || f.rnd.Intn(50) == 0 {
			if err := f.reopen(); err != nil {
				return err
			}
		}
		if err := f.step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

func (f *fsxFile) reopen() error {
	for _, fd := range f.fds {
		unix.Close(fd)
	}
	f.fds = nil
	for _, flags := range []int{unix.O_RDWR | unix.O_CREAT, unix.O_RDWR} {
		fd, err := unix.Open(f.path, flags, 0o644)
		if err != nil {
			return err
		}
		f.fds = append(f.fds, fd)
	}
	return nil
}

func (f *fsxFile) grow(size int) {
	if size > len(f.want) {
		f.want = append(f.want, make([]byte, size-len(f.want))...)
	}
}

func (f *fsxFile) step() error {
	fd := f.fds[f.rnd.Intn(2)]
	off := f.rnd.Intn(fsxMax)
	size := 1 + f.rnd.Intn(20<<10)
	switch f.rnd.Intn(9) {
	case 0, 1, 2:
		data := make([]byte, size)
		f.rnd.Read(data)
		if n, err := unix.Pwrite(fd, data, int64(off)); err != nil || n != size {
			return fmt.Errorf("write %d: %w", n, err)
		}
		f.grow(off + size)
		copy(f.want[off:], data)
	case 3:
		if err := unix.Ftruncate(fd, int64(off)); err != nil {
			return err
		}
		f.want = f.want[:min(off, len(f.want))]
		f.grow(off)
	case 4:
		if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(off), int64(size)); err != nil {
			return err
		}
		for i := off; i < min(off+size, len(f.want)); i++ {
			f.want[i] = 0
		}
	case 5:
		if off+size > len(f.want) {
			return nil
		}
		to := f.rnd.Intn(fsxMax)
		if to < off+size && off < to+size {
			return nil // overlapping: refused
		}
		from, dest := int64(off), int64(to)
		n, err := unix.CopyFileRange(fd, &from, f.fds[0], &dest, size, 0)
		if err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		part := append([]byte(nil), f.want[off:off+n]...)
		f.grow(to + n)
		copy(f.want[to:], part)
	case 6:
		return f.mapped(fd)
	default:
		got := make([]byte, size)
		n, err := unix.Pread(fd, got, int64(off))
		if err != nil {
			return err
		}
		var want []byte
		if off < len(f.want) {
			want = f.want[off:min(off+size, len(f.want))]
		}
		if !bytes.Equal(got[:n], want) {
			return fmt.Errorf("read of %d at %d differs (%d bytes, want %d)", size, off, n, len(want))
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(f.path, &st); err != nil {
		return err
	}
	if st.Size != int64(len(f.want)) {
		return fmt.Errorf("size is %d, want %d", st.Size, len(f.want))
	}
	return nil
}

func (f *fsxFile) mapped(fd int) error {
	if len(f.want) == 0 {
		return nil
	}
	mem, err := unix.Mmap(fd, 0, len(f.want), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(mem)
	if !bytes.Equal(mem, f.want) {
		return errors.New("the mapping differs")
	}
	for range 10 {
		i := f.rnd.Intn(len(f.want))
		mem[i] = byte(f.rnd.Intn(256))
		f.want[i] = mem[i]
	}
	return nil
}
