//go:build linux

package fs

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// server reads requests and has them answered. Most requests take a few
// microseconds, less than waking a thread for them does, so one reader answers
// what comes, and asks for a while for the next request before it sleeps. When
// there is more than one can do, or a request takes long, there are more
// readers: nobody ever waits for another's request.
type server struct {
	protocol *fuse.ProtocolServer
	kernel   *kernel
	asking   int // a clone of the connection's descriptor that does not block; -1: none
	bufSize  int
	demand   bool // opening may fetch

	free    atomic.Int32 // readers that are not answering: asking or asleep
	asleep  atomic.Int32 // in a read that waits: 0 or 1
	served  atomic.Uint64
	watched atomic.Bool
	wake    chan struct{} // of capacity 1: the watchdog's
	over    chan struct{} // closed when the connection is gone
	end     sync.Once
	wg      sync.WaitGroup // readers and the watchdog
	buffers sync.Pool

	mu      sync.Mutex          // guards pending
	pending map[uint64]struct{} // requests that may take long
}

const (
	// patience is how long a reader asks before it sleeps: about what it takes
	// the kernel to wake a thread twice.
	patience = 40 * time.Microsecond
	// crowd is how many requests in a row that were there already make a reader
	// call for another.
	crowd = 16
	// overdue is when a request counts as taking long.
	overdue = time.Millisecond
)

// buffer is what one reader reads into and answers from.
type buffer struct {
	in, out []byte
}

func newServer(fs fuse.RawFileSystem, fd int, o *fuse.MountOptions) (*server, error) {
	s := &server{
		protocol: fuse.NewProtocolServer(fs, o),
		kernel:   &kernel{fd: fd},
		asking:   -1,
		bufSize:  o.MaxWrite + 4096,
		wake:     make(chan struct{}, 1),
		over:     make(chan struct{}),
		pending:  map[uint64]struct{}{},
	}
	s.buffers.New = func() any { return &buffer{in: make([]byte, s.bufSize), out: make([]byte, 64<<10)} }
	// The first request is INIT; all else waits for its answer.
	b := s.buffers.Get().(*buffer)
	n, err := readBlocking(fd, b.in)
	if err != nil {
		return nil, err
	}
	s.answer(fd, b, n)
	s.buffers.Put(b)
	s.asking = cloneAsking(fd)
	return s, nil
}

// cloneAsking opens the connection once more, for reads that do not wait.
func cloneAsking(fd int) int {
	clone, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	from := uint32(fd)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(clone), devClone, uintptr(unsafe.Pointer(&from))); errno != 0 {
		unix.Close(clone)
		return -1
	}
	return clone
}

// serve returns when the kernel has let go of the connection and all is
// answered.
func (s *server) serve() {
	s.call()
	s.wg.Go(s.watch)
	s.wg.Wait()
	if s.asking >= 0 {
		unix.Close(s.asking)
	}
	s.kernel.close()
}

// call adds a reader.
func (s *server) call() {
	s.free.Add(1)
	s.wg.Go(s.read)
}

// read is one reader's life. It ends when another one waits for requests.
func (s *server) read() {
	b := s.buffers.Get().(*buffer)
	defer s.buffers.Put(b)
	row := 0
	for {
		fd, n, waited, ok := s.next(b)
		alone := s.free.Add(-1) == 0
		if !ok {
			return
		}
		s.served.Add(1)
		long := mayTakeLong(b.in) || s.demand && mayFetch(b.in)
		if row++; waited {
			row = 0
		}
		if alone && (long || row >= crowd) {
			row = 0
			s.call()
		}
		if s.watched.CompareAndSwap(false, true) {
			s.wake <- struct{}{}
		}
		if long {
			s.answerLong(fd, b, n)
		} else {
			s.answer(fd, b, n)
		}
		s.free.Add(1)
	}
}

// next is a request; ok is false when this reader is to end.
func (s *server) next(b *buffer) (fd, n int, waited, ok bool) {
	if s.asking >= 0 {
		if n, waited, err := s.ask(b); err == 0 {
			return s.asking, n, waited, true
		}
	}
	if !s.asleep.CompareAndSwap(0, 1) {
		return 0, 0, false, false // another waits already
	}
	n, err := readBlocking(s.kernel.fd, b.in)
	s.asleep.Store(0)
	if err != nil {
		s.gone()
		return 0, 0, false, false
	}
	return s.kernel.fd, n, true, true
}

// ask asks for a request for a while.
func (s *server) ask(b *buffer) (n int, waited bool, err unix.Errno) {
	var began time.Time
	for try := 0; s.asleep.Load() == 0; try++ {
		if n, err = readAsking(s.asking, b.in); err == 0 {
			return n, try > 0, 0
		}
		if try == 0 {
			began = time.Now()
		} else if time.Since(began) > patience {
			break
		}
		unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
	return 0, false, unix.EAGAIN
}

// gone is the end of the connection. Requests that still wait for something are
// told that nobody wants the answer.
func (s *server) gone() {
	s.end.Do(func() { close(s.over) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for unique := range s.pending {
		in := fuse.InterruptIn{Unique: unique}
		in.Length, in.Opcode = uint32(unsafe.Sizeof(in)), opInterrupt
		s.protocol.HandleRequest([][]byte{bytesOf(&in)}, [][]byte{make([]byte, 512)})
	}
}

// readAsking reads without waiting, and so without telling the runtime.
func readAsking(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), errno
}

func readBlocking(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		switch err {
		case unix.EINTR, unix.EAGAIN, unix.ENOENT: // ENOENT: the request was given up meanwhile
			continue
		}
		return n, err
	}
}

// The requests that may wait for a disk or a network; the others do what a
// program does that uses a directory.
func mayTakeLong(in []byte) bool {
	h := (*fuse.InHeader)(unsafe.Pointer(&in[0]))
	switch h.Opcode {
	case opRead, opWrite, opFsync, opFsyncDir, opSetAttr, opFallocate, opCopyFileRange, opFlush, opRename, opRename2:
		return true
	}
	return isPast(h.NodeId)
}

// mayFetch tells requests that may wait for what is not on this disk.
func mayFetch(in []byte) bool {
	op := (*fuse.InHeader)(unsafe.Pointer(&in[0])).Opcode
	return op == opOpen || op == opOpenDir
}

// Opcodes of the protocol.
const (
	opSetAttr       = 4
	opRename        = 12
	opOpen          = 14
	opRead          = 15
	opWrite         = 16
	opFsync         = 20
	opGetXAttr      = 22
	opListXAttr     = 23
	opFlush         = 25
	opOpenDir       = 27
	opReadDir       = 28
	opFsyncDir      = 30
	opInterrupt     = 36
	opFallocate     = 43
	opReadDirPlus   = 44
	opRename2       = 45
	opCopyFileRange = 47
)

// answer has a request answered and sends it on the descriptor it came by.
func (s *server) answer(fd int, b *buffer, n int) {
	if size := answerSize(b.in[:n]); size > len(b.out) {
		b.out = make([]byte, size)
	}
	size, status := s.protocol.HandleRequest([][]byte{b.in[:n]}, [][]byte{b.out})
	if size == 0 || status != fuse.OK {
		return
	}
	for {
		// ENOENT: who asked was interrupted; ENODEV: the mount is gone.
		if _, err := unix.Write(fd, b.out[:size]); err != unix.EINTR {
			return
		}
	}
}

// answerSize is room for the answer to a request.
func answerSize(in []byte) int {
	const fixed = 512 // headers and the largest answer of fixed size
	h := (*fuse.InHeader)(unsafe.Pointer(&in[0]))
	switch h.Opcode {
	case opRead, opReadDir, opReadDirPlus:
		if len(in) >= int(unsafe.Sizeof(fuse.ReadIn{})) {
			return fixed + int((*fuse.ReadIn)(unsafe.Pointer(&in[0])).Size)
		}
	case opGetXAttr, opListXAttr:
		if len(in) >= int(unsafe.Sizeof(fuse.GetXAttrIn{})) {
			return fixed + int((*fuse.GetXAttrIn)(unsafe.Pointer(&in[0])).Size)
		}
	}
	return fixed
}

// answerLong is answer for a request that can be given up.
func (s *server) answerLong(fd int, b *buffer, n int) {
	unique := (*fuse.InHeader)(unsafe.Pointer(&b.in[0])).Unique
	s.mu.Lock()
	s.pending[unique] = struct{}{}
	s.mu.Unlock()
	s.answer(fd, b, n)
	s.mu.Lock()
	delete(s.pending, unique)
	s.mu.Unlock()
}

// watch sees to it that somebody reads while all others are busy with a request
// that took longer than was thought.
func (s *server) watch() {
	for {
		select {
		case <-s.over:
			return
		case <-s.wake:
		}
		// Where somebody reads for a while and nothing comes, nobody is busy.
		for last, quiet := uint64(0), 0; quiet < 20; {
			select {
			case <-s.over:
				return
			case <-time.After(overdue):
			}
			now := s.served.Load()
			switch {
			case now != last:
				last, quiet = now, 0
			case s.free.Load() == 0:
				s.call()
			default:
				quiet++
			}
		}
		s.watched.Store(false)
	}
}
