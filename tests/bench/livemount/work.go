//go:build linux

package main

import (
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// load is how much is done.
type load struct {
	files int
	bytes int64
}

// operation is one line of the table. It returns how much it did, in its unit.
type operation struct {
	name string
	unit string
	run  func(dir string, l load) (float64, error)
}

// In this order: each works on what those before it left.
var operations = []operation{
	{"create", "/s", create},
	{"stat", "/s", cold(statAll)},
	{"stat again", "/s", statAll},
	{"open+read", "/s", openRead},
	{"readdir+stat", "/s", cold(readdirStat)},
	{"readdir+stat again", "/s", readdirStat},
	{"rename", "/s", rename},
	{"unlink", "/s", unlink},
	{"write sequential", "MB/s", writeSequential},
	{"read sequential", "MB/s", readSequential},
	{"write random 4K", "/s", writeRandom},
	{"read random 4K", "/s", readRandom},
}

const perDir = 100

func name(dir string, i int) string {
	return dir + "/" + strconv.Itoa(i/perDir) + "/file-" + strconv.Itoa(i)
}

// oneRound runs all operations once on a fresh start of s.
func oneRound(s system, dir string, l load) (rates map[string]float64, err error) {
	below, mnt := filepath.Join(dir, "below"), filepath.Join(dir, "mnt")
	for _, d := range []string{below, mnt} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	stop, err := s.start(below, mnt)
	if err != nil {
		return nil, err
	}
	defer func() {
		unix.Unmount(mnt, unix.MNT_DETACH)
		if e := stop(); err == nil {
			err = e
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	work := filepath.Join(mnt, "work")
	if err := unix.Mkdir(work, 0o755); err != nil {
		return nil, err
	}
	for i := 0; i < l.files; i += perDir {
		if err := unix.Mkdir(filepath.Dir(name(work, i)), 0o755); err != nil {
			return nil, err
		}
	}
	unix.Sync()
	rates = map[string]float64{}
	for _, op := range operations {
		begin := time.Now()
		if op.unit == "" {
			begin = time.Time{}
		}
		amount, err := op.run(work, l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op.name, err)
		}
		rates[op.name] = amount / (time.Since(begin) - pause).Seconds()
		pause = 0
	}
	return rates, os.RemoveAll(work)
}

// pause is time that an operation spent on preparing.
var pause time.Duration

// cold runs an operation with the kernel's names and inodes dropped.
func cold(run func(string, load) (float64, error)) func(string, load) (float64, error) {
	return func(dir string, l load) (float64, error) {
		begin := time.Now()
		unix.Sync()
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
			return 0, err
		}
		pause = time.Since(begin)
		return run(dir, l)
	}
}

func create(dir string, l load) (float64, error) {
	data := make([]byte, 1024)
	for i := range l.files {
		fd, err := unix.Open(name(dir, i), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o644)
		if err != nil {
			return 0, err
		}
		if _, err := unix.Write(fd, data); err != nil {
			return 0, err
		}
		if err := unix.Close(fd); err != nil {
			return 0, err
		}
	}
	return float64(l.files), nil
}

func statAll(dir string, l load) (float64, error) {
	var st unix.Stat_t
	for i := range l.files {
		if err := unix.Stat(name(dir, i), &st); err != nil {
			return 0, err
		}
	}
	return float64(l.files), nil
}

func openRead(dir string, l load) (float64, error) {
	data := make([]byte, 4096)
	for i := range l.files {
		fd, err := unix.Open(name(dir, i), unix.O_RDONLY, 0)
		if err != nil {
			return 0, err
		}
		if n, err := unix.Read(fd, data); err != nil || n != 1024 {
			return 0, fmt.Errorf("read %d bytes: %w", n, err)
		}
		unix.Close(fd)
	}
	return float64(l.files), nil
}

func readdirStat(dir string, l load) (float64, error) {
	var st unix.Stat_t
	buf := make([]byte, 32<<10)
	seen := 0
	for i := 0; i < l.files; i += perDir {
		fd, err := unix.Open(filepath.Dir(name(dir, i)), unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return 0, err
		}
		for {
			n, err := unix.Getdents(fd, buf)
			if err != nil {
				return 0, err
			}
			if n == 0 {
				break
			}
			var names []string
			_, _, names = unix.ParseDirent(buf[:n], -1, names)
			for _, name := range names {
				if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
					return 0, err
				}
				seen++
			}
		}
		unix.Close(fd)
	}
	if seen != l.files {
		return 0, fmt.Errorf("%d names instead of %d", seen, l.files)
	}
	return float64(seen), nil
}

func rename(dir string, l load) (float64, error) {
	for i := range l.files {
		if err := unix.Rename(name(dir, i), name(dir, i)+".new"); err != nil {
			return 0, err
		}
	}
	return float64(l.files), nil
}

func unlink(dir string, l load) (float64, error) {
	for i := range l.files {
		if err := unix.Unlink(name(dir, i) + ".new"); err != nil {
			return 0, err
		}
	}
	return float64(l.files), nil
}

func each(path string, flags int, l load, block int, do func(fd int, b []byte, i int64) (int, error)) (float64, error) {
	fd, err := unix.Open(path, flags, 0o644)
	if err != nil {
		return 0, err
	}
	b := make([]byte, block)
	rand.New(rand.NewSource(1)).Read(b)
	count := l.bytes / int64(block)
	if block == 4096 {
		count = min(count, 20000)
	}
	for i := range count {
		if n, err := do(fd, b, i); err != nil || n != block {
			return 0, fmt.Errorf("%d bytes: %w", n, err)
		}
	}
	if err := unix.Close(fd); err != nil {
		return 0, err
	}
	if block == 4096 {
		return float64(count), nil
	}
	return float64(count*int64(block)) / 1e6, nil
}

func writeSequential(dir string, l load) (float64, error) {
	return each(dir+"/big", unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC, l, 1<<20, func(fd int, b []byte, _ int64) (int, error) { return unix.Write(fd, b) })
}

func readSequential(dir string, l load) (float64, error) {
	return each(dir+"/big", unix.O_RDONLY, l, 1<<20, func(fd int, b []byte, _ int64) (int, error) { return unix.Read(fd, b) })
}

// offset is a random block of the file, the same sequence each time.
func offset(i int64, l load) int64 {
	return int64(uint64(i+1)*0x9e3779b97f4a7c15>>20) % (l.bytes / 4096) * 4096
}

func writeRandom(dir string, l load) (float64, error) {
	return each(dir+"/big", unix.O_WRONLY, l, 4096, func(fd int, b []byte, i int64) (int, error) { return unix.Pwrite(fd, b, offset(i, l)) })
}

func readRandom(dir string, l load) (float64, error) {
	return each(dir+"/big", unix.O_RDONLY, l, 4096, func(fd int, b []byte, i int64) (int, error) { return unix.Pread(fd, b, offset(i, l)) })
}
