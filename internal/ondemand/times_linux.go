package ondemand

import "github.com/syncfs/syncfs/internal/disk"

// A program that reads a file must not see it change by that: what fills a file
// moves its time of change on the disk, which nobody can set back. So the time
// that it had before is what is shown, until something else moves it.

// shownTime is what is shown of a file that we have changed last.
type shownTime struct {
	ctime int64 // shown
	real  int64 // on the disk, after our last change
	busy  bool  // we are changing it
}

const maxShown = 1 << 17

// ours runs a change of the inode of fd that is none for anybody else.
func (d *Demand) ours(fd int, change func() error) error {
	before, err := disk.StatFD(fd)
	if err != nil {
		return err
	}
	key := inode{before.Dev, before.Ino}
	d.mu.Lock()
	s, ok := d.shown[key]
	if !ok || s.real != before.CTime {
		s.ctime = before.CTime
	}
	s.busy = true
	if len(d.shown) >= maxShown {
		clear(d.shown)
	}
	d.shown[key] = s
	d.mu.Unlock()
	err = change()
	after, serr := disk.StatFD(fd)
	d.mu.Lock()
	defer d.mu.Unlock()
	if s, ok = d.shown[key]; ok {
		if s.busy, s.real = false, after.CTime; serr != nil {
			delete(d.shown, key)
		} else {
			d.shown[key] = s
		}
	}
	return err
}

// Shown is the time of change to show of a file that has ctime on the disk.
// filling: its other times there may not be its own at this moment.
func (d *Demand) Shown(dev, ino uint64, ctime int64) (shown int64, filling bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := inode{dev, ino}
	_, filling = d.files[key]
	if s, ok := d.shown[key]; ok && (s.busy || s.real == ctime) {
		ctime = s.ctime
	}
	return ctime, filling
}

// Touched says that a program has changed a file: it sees that.
func (d *Demand) Touched(dev, ino uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.shown, inode{dev, ino})
}
