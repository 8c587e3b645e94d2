package store

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"lukechampine.com/blake3"
)

// openPack is a pack that is being written, in a file of the spool that has no
// lasting name yet. Frames go straight to the file, each at a place reserved
// for it, so a pack costs no memory.
type openPack struct {
	class  int
	sealer *seal.Pack

	// Guarded by Store.mu.
	ordinal uint32
	size    int64 // reserved so far
	frames  []frame
	writers int       // that have reserved and not written yet
	running bool      // being finished
	err     error     // why it could not be finished
	failed  time.Time // when

	mu       sync.RWMutex // guards file: read to use it, write to replace it
	file     *atomicfile.File
	doubtful bool   // a sync failed: the file may not be what was written
	tail     []byte // directory and trailer, once sealed: the same in every attempt
}

// classes of packs
const (
	dataClass = 0
	treeClass = 1
)

// maxFrames bounds the directory of a pack, and with it what finishing a pack
// needs on a full disk.
const maxFrames = 4096

func classOf(kind chunk.Kind) int {
	if kind == chunk.Data {
		return dataClass
	}
	return treeClass
}

// fits tells whether n more bytes belong into the pack. It needs Store.mu.
func (p *openPack) fits(n int) bool {
	limit := int64(dataPackSize)
	if p.class == treeClass {
		limit = treePackSize
	}
	return p.size == int64(seal.PackHeader) || p.size+int64(n) <= limit && len(p.frames)+p.writers < maxFrames
}

// read reads a frame of a pack that is not finished.
func (p *openPack) read(e entry) ([]byte, error) {
	buf := make([]byte, e.length)
	p.mu.RLock()
	defer p.mu.RUnlock()
	if _, err := p.file.ReadAt(buf, int64(e.offset)); err != nil {
		return nil, err
	}
	return buf, nil
}

// write writes a frame to its reserved place.
func (p *openPack) write(frame []byte, offset int64) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, err := p.file.WriteAt(frame, offset)
	return err
}

// seal writes the directory and returns the pack's name. No frame may be
// written any more.
func (p *openPack) seal(keys *seal.Keys) (d digest, size int64, err error) {
	if p.tail == nil {
		p.tail = sealDirectory(keys, p.sealer, p.size, p.frames)
	}
	if _, err := p.file.WriteAt(p.tail, p.size); err != nil {
		return digest{}, 0, err
	}
	size = p.size + int64(len(p.tail))
	if err := p.file.Truncate(size); err != nil {
		return digest{}, 0, err
	}
	d, err = hashFile(p.file, size)
	return d, size, err
}

// rewrite copies the frames into a new file: after a failed sync nobody knows
// what of the old one is on the disk. Every frame is opened on the way.
func (p *openPack) rewrite(create func() (*atomicfile.File, error)) error {
	f, err := create()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(p.sealer.Header(), 0); err != nil {
		f.Abort()
		return err
	}
	for _, fr := range p.frames {
		buf := make([]byte, fr.length)
		_, err := p.file.ReadAt(buf, int64(fr.offset))
		if err == nil {
			_, err = p.sealer.Open(int64(fr.offset), fr.kind, fr.id, buf)
		}
		if err == nil {
			_, err = f.WriteAt(buf, int64(fr.offset))
		}
		if err != nil {
			f.Abort()
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.file.Abort()
	p.file = f
	return nil
}

// hashFile is the digest of size bytes of r.
func hashFile(r io.ReaderAt, size int64) (d digest, err error) {
	h := blake3.New(len(d), nil)
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, struct{ io.Reader }{io.NewSectionReader(r, 0, size)}, make([]byte, 256<<10))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	h.Sum(d[:0])
	return d, err
}

// isFull tells a full disk from other failures.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || isQuota(err) }

// spoolError names a full disk as callers know it.
func spoolError(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w: %w", ErrSpoolFull, err)
	}
	return err
}
