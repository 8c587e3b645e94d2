//go:build linux

package sequence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

// Program does what programs do in one folder, and tells the ledger.
type Program struct {
	l    *Ledger
	name string // of the machine
	dir  string
	open []held
	// Touched are the paths that it has worked on since they were asked for.
	Touched map[string]bool
}

// NewProgram works in dir, the folder of a machine.
func NewProgram(l *Ledger, machine, dir string) *Program {
	return &Program{l: l, name: machine, dir: dir, Touched: map[string]bool{}}
}

// held is a file that is open for writing for longer.
type held struct {
	f    *os.File
	path string
}

func (p *Program) at(path string) string { return filepath.Join(p.dir, path) }

// thing is what stands at a path, by a descriptor that a rename does not fool.
type thing struct {
	fd   int
	st   unix.Stat_t
	text string // "" of a directory
}

func (t *thing) dir() bool { return t.st.Mode&unix.S_IFMT == unix.S_IFDIR }
func (t *thing) close()    { unix.Close(t.fd) }

// look opens what stands at a path; nil where nothing does.
func (p *Program) look(path string) *thing {
	fd, err := unix.Open(p.at(path), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	t := &thing{fd: fd}
	if err := unix.Fstat(fd, &t.st); err != nil {
		t.close()
		return nil
	}
	switch t.st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		data, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			t.close()
			return nil
		}
		t.text = string(data)
	case unix.S_IFLNK:
		buf := make([]byte, 4096)
		n, err := unix.Readlinkat(fd, "", buf)
		if err != nil {
			t.close()
			return nil
		}
		t.text = "-> " + string(buf[:n])
	}
	return t
}

// away tells whether what was looked at has lost a name since: the step that
// was made took this very thing. A mount may not know what has lost its last name.
func (t *thing) away() bool {
	var st unix.Stat_t
	err := unix.Fstat(t.fd, &st)
	return err == nil && st.Nlink < t.st.Nlink || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESTALE)
}

// taking runs a step that takes the name from what stands at a path.
func (p *Program) taking(path string, edit bool, step func() error) error {
	t := p.look(path)
	err := step()
	if t == nil {
		return err
	}
	defer t.close()
	if err == nil && t.text != "" && t.away() {
		p.l.ended(p.name, path, t.text, edit)
	}
	return err
}

// Do is one operation; what cannot be done is passed over.
func (p *Program) Do(o Op) (done bool) {
	path, other := p.Pick(o.Path), p.Pick(o.Other)
	if path == "" || other == "" && o.Other != "" {
		return false
	}
	p.Touched[path], p.Touched[other] = true, true
	switch o.What {
	case "write", "append", "truncate", "overwrite":
		return p.write(o, path)
	case "save":
		return p.save(o, path)
	case "hold":
		return p.hold(path)
	case "release":
		if len(p.open) == 0 {
			return false
		}
		p.release(p.open[0])
		p.open = p.open[1:]
	case "remove":
		return p.taking(path, false, func() error { return unix.Unlink(p.at(path)) }) == nil
	case "rmtree":
		return p.removeAll(path)
	case "rename":
		return p.rename(path, other, 0)
	case "swap":
		return p.rename(path, other, unix.RENAME_EXCHANGE)
	case "mkdir":
		return os.Mkdir(p.at(path), 0o755) == nil
	case "chmod":
		mode := []uint32{0o600, 0o640, 0o755, 0o700}[o.N%4]
		if t := p.look(path); t != nil {
			defer t.close()
			if t.dir() {
				mode |= 0o100
			} else if t.st.Mode&unix.S_IFMT == unix.S_IFLNK {
				return false
			}
		}
		return os.Chmod(p.at(path), fs.FileMode(mode)) == nil
	case "touch":
		ts := []unix.Timespec{{Sec: int64(1e9 + o.N)}, {Sec: int64(1e9 + o.N), Nsec: 7}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, p.at(path), ts, unix.AT_SYMLINK_NOFOLLOW) == nil
	case "xattr":
		if o.N%3 == 0 {
			return unix.Lremovexattr(p.at(path), "user.colour") == nil
		}
		return unix.Lsetxattr(p.at(path), "user.colour", []byte(fmt.Sprint(o.N)), 0) == nil
	case "symlink":
		target := p.l.Fresh(0)
		if os.Symlink(target, p.at(path)) != nil {
			return false
		}
		p.l.wrote(p.name, path, "-> "+target, "")
	case "link":
		t := p.look(path)
		if t == nil {
			return false
		}
		defer t.close()
		if os.Link(p.at(path), p.at(other)) != nil {
			return false
		}
		p.l.linked(p.name, t.text)
	case "todir":
		if p.taking(path, true, func() error { return unix.Unlink(p.at(path)) }) != nil || os.Mkdir(p.at(path), 0o755) != nil {
			return false
		}
		return p.write(Op{What: "write"}, path+"/x")
	case "tofile":
		return p.removeAll(path) && p.write(Op{What: "write"}, path)
	default:
		panic("no such operation: " + o.What)
	}
	return true
}

// sizes of what is added by a write.
var sizes = []int{0, 1, 0, 4095, 20, 4096, 0, 70_000}

// write changes a file in place, or makes it, between one open and one close.
func (p *Program) write(o Op, path string) bool {
	flags := os.O_RDWR | unix.O_NOFOLLOW
	if o.What == "write" {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(p.at(path), flags, 0o644)
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return false
	}
	old, add := string(data), p.l.Fresh(sizes[o.N%len(sizes)])
	offset, whole := int64(0), add
	switch {
	case o.What == "append":
		offset, whole = int64(len(old)), old+add
	case o.What == "truncate" && len(old) > 0:
		offset = int64(o.N*31) % int64(len(old))
		whole = old[:offset] + add
	case o.What == "overwrite" && len(old) > 0:
		offset = int64(o.N*31) % int64(len(old))
		whole = old[:offset] + add
		if len(whole) < len(old) {
			whole += old[len(whole):]
		}
	}
	if len(whole) < len(old) {
		if f.Truncate(offset) != nil {
			return false
		}
	}
	half := len(add) / 2 // in two calls
	_, err1 := f.WriteAt([]byte(add[:half]), offset)
	_, err2 := f.WriteAt([]byte(add[half:]), offset+int64(half))
	if err := errors.Join(err1, err2); err != nil {
		panic(fmt.Sprintf("write %s: %v", path, err)) // the test's own disk is full
	}
	p.l.wrote(p.name, path, whole, old)
	return true
}

// save replaces a file as editors do.
func (p *Program) save(o Op, path string) bool {
	tmp := path + "~"
	if len(base(tmp)) > 255 {
		tmp = dirOf(path) + "tmp~"
	}
	text := p.l.Fresh(sizes[o.N%len(sizes)])
	f, err := os.OpenFile(p.at(tmp), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return false
	}
	_, err = f.WriteString(text)
	if o.N%2 == 0 {
		err = errors.Join(err, f.Sync())
	}
	if err := errors.Join(err, f.Close()); err != nil {
		panic(fmt.Sprintf("save %s: %v", path, err))
	}
	p.l.wrote(p.name, tmp, text, "")
	p.Touched[tmp] = true
	if p.taking(path, true, func() error { return unix.Rename(p.at(tmp), p.at(path)) }) != nil {
		return p.taking(tmp, false, func() error { return unix.Unlink(p.at(tmp)) }) == nil
	}
	p.l.moved(p.name, path, text)
	return true
}

// hold opens a file, writes into it, and keeps it open.
func (p *Program) hold(path string) bool {
	f, err := os.OpenFile(p.at(path), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	p.open = append(p.open, held{f, path})
	p.l.during[p.grow(p.open[len(p.open)-1])] = true
	return true
}

// grow adds to a held file and returns what is in it then.
func (p *Program) grow(h held) string {
	data, err := io.ReadAll(io.NewSectionReader(h.f, 0, 1<<30))
	add := p.l.Fresh(0)
	if err == nil {
		_, err = h.f.WriteAt([]byte(add), int64(len(data)))
	}
	if err != nil {
		panic(fmt.Sprintf("write %s: %v", h.path, err))
	}
	p.l.ended(p.name, h.path, string(data), true)
	return string(data) + add
}

// release writes once more and closes.
func (p *Program) release(h held) {
	text := p.grow(h)
	var st unix.Stat_t
	err := unix.Fstat(int(h.f.Fd()), &st)
	p.l.wrote(p.name, h.path, text, "")
	switch {
	case err != nil || st.Nlink == 0:
		p.l.all[text].gone = true // removed before it was closed
	case st.Nlink > 1: // linked before it was closed
		p.l.all[text].links = int(st.Nlink) - 1
	}
	h.f.Close()
	p.Touched[h.path] = true
}

// Release closes what is open for longer.
func (p *Program) Release() {
	for _, h := range p.open {
		p.release(h)
	}
	p.open = nil
}

// Abandon closes what is open for longer where its mount has died: whether what
// was last written into it is in the file is nobody's promise.
func (p *Program) Abandon() {
	for _, h := range p.open {
		h.f.Close()
	}
	p.open = nil
}

// Captured tells the ledger that what stood before and stands now is in a snapshot.
func (p *Program) Captured(before map[string]Node) {
	now := TreeOf(p.dir)
	for path, n := range before {
		if n.text != "" && now[path] == n {
			p.l.Captured(n.text)
		}
	}
}

// Same writes what other machines write as well.
func (p *Program) Same(path, text string) bool {
	if path == "" {
		return false
	}
	f, err := os.OpenFile(p.at(path), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return false
	}
	defer f.Close()
	old, err := io.ReadAll(f)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err != nil {
		panic(fmt.Sprintf("write %s: %v", path, err))
	}
	p.l.wrote(p.name, path, text, string(old))
	p.Touched[path] = true
	return true
}

func (p *Program) removeAll(path string) bool {
	t := p.look(path)
	if t == nil {
		return false
	}
	t.close()
	if !t.dir() {
		return p.taking(path, false, func() error { return unix.Unlink(p.at(path)) }) == nil
	}
	list, err := os.ReadDir(p.at(path))
	if err != nil {
		return false
	}
	ok := true
	for _, e := range list {
		ok = p.removeAll(path+"/"+e.Name()) && ok
	}
	p.Touched[path] = true
	return ok && unix.Rmdir(p.at(path)) == nil
}

// rename moves a file, or a directory with what is in it, or swaps two.
func (p *Program) rename(from, to string, flags uint) bool {
	if from == to || strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, to+"/") {
		return false
	}
	step := func() error {
		return unix.Renameat2(unix.AT_FDCWD, p.at(from), unix.AT_FDCWD, p.at(to), flags)
	}
	if flags != 0 {
		if step() != nil {
			return false
		}
		p.movedBelow(from)
	} else if p.taking(to, true, step) != nil {
		return false
	}
	p.movedBelow(to)
	return true
}

func (p *Program) movedBelow(path string) {
	_ = filepath.WalkDir(p.at(path), func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		rel, _ := filepath.Rel(p.dir, at)
		if t := p.look(rel); t != nil {
			p.l.moved(p.name, rel, t.text)
			t.close()
		}
		return nil
	})
}

// Pick is a path, or of "existing N" the Nth that is there.
func (p *Program) Pick(path string) string {
	var n int
	if _, err := fmt.Sscanf(path, "existing %d", &n); err != nil {
		return path
	}
	var all []string
	for path := range TreeOf(p.dir) {
		if path != "" {
			all = append(all, path)
		}
	}
	if len(all) == 0 {
		return ""
	}
	sort.Strings(all)
	return all[n%len(all)]
}
