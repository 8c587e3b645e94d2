package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/syncfs/syncfs/internal/blob"
)

type progressKey struct{}

// WithProgress lets fn be told of every piece that a Put under the context
// sends, in bytes since the last call; what must be sent again counts back. fn
// may be called by several goroutines, and must not block.
func WithProgress(ctx context.Context, fn func(bytes int64)) context.Context {
	return context.WithValue(ctx, progressKey{}, fn)
}

// Put is blob.Store.Put. An upload that breaks goes on where it was.
func (c *Client) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if !blob.ValidName(name) || size < 0 {
		return fmt.Errorf("put %q with %d bytes: not a name or a size", clip(name), size)
	}
	sum, err := hashOf(ctx, r, size)
	if err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	tell, _ := ctx.Value(progressKey{}).(func(int64))
	u := &upload{c: c, name: name, r: r, size: size, sum: sum, tell: tell}
	if err := u.run(ctx); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	return nil
}

func hashOf(ctx context.Context, r io.ReaderAt, size int64) (d digest, err error) {
	sum := sha256.New()
	buf := make([]byte, min(size, 256<<10))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return d, err
		}
		part := buf[:min(size-off, int64(len(buf)))]
		if n, err := r.ReadAt(part, off); n < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return d, err
		}
		sum.Write(part)
		off += int64(len(part))
	}
	return digest(sum.Sum(nil)), nil
}

// upload is one Put.
type upload struct {
	c    *Client
	name string
	r    io.ReaderAt
	size int64
	sum  digest
	tell func(int64) // may be nil

	told int64 // bytes that tell has heard of
}

func (u *upload) run(ctx context.Context) error {
	tries := u.c.attempts("put " + u.name)
	offset := int64(0)
	for first := true; ; first = false {
		var err error
		if !first {
			var at int64
			at, err = u.offset(ctx)
			if err == nil && at > offset {
				tries.progress()
			}
			if err == nil {
				offset = at
			}
		}
		var said *answer
		if errors.As(err, &said) && said.Code == codeDone {
			return nil // an earlier try arrived, only its answer did not
		}
		if err == nil {
			err = u.send(ctx, offset)
		}
		if err == nil {
			return nil
		}
		if err := tries.again(ctx, err); err != nil {
			return err
		}
	}
}

// offset asks where the upload goes on.
func (u *upload) offset(ctx context.Context) (int64, error) {
	reply, err := u.c.once(ctx, exchange{
		method: http.MethodGet, path: "/v1/uploads/" + u.name,
		query: url.Values{"size": {strconv.FormatInt(u.size, 10)}, "sha256": {u.sum.hex()}},
	})
	if err != nil {
		return 0, err
	}
	var at wireOffset
	if err := reply.json(&at); err != nil {
		return 0, err
	}
	if at.Offset < 0 || at.Offset > u.size {
		return 0, fmt.Errorf("%w: an offset of %d in %d bytes", ErrNotServer, at.Offset, u.size)
	}
	if at.Offset == u.size {
		return 0, nil // all is there, but was not stored: once more
	}
	return at.Offset, nil
}

// send sends the object from offset on.
func (u *upload) send(ctx context.Context, offset int64) error {
	u.count(offset - u.told)
	header := http.Header{headerDigest: {u.sum.String()}, "Content-Type": {"application/octet-stream"}}
	if offset > 0 {
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, u.size-1, u.size))
	}
	body := &uploadBody{r: io.NewSectionReader(u.r, offset, u.size-offset), size: u.size - offset, limit: u.c.up, sent: u.count}
	reply, err := u.c.once(ctx, exchange{method: http.MethodPut, path: "/v1/blobs/" + u.name, header: header, body: body})
	if err != nil {
		return err
	}
	u.count(u.size - u.told)
	return reply.Close()
}

// count is called by one goroutine at a time: the transport's while it sends,
// ours before and after.
func (u *upload) count(n int64) {
	u.told += n
	if u.tell != nil && n != 0 {
		u.tell(n)
	}
}

// uploadBody is the body of a request. The transport may read it for longer
// than the request lasts, and more than once; detach ends that.
type uploadBody struct {
	r     io.ReaderAt
	size  int64
	limit *bandwidth
	sent  func(int64) // may be nil

	mu       sync.Mutex // guards all below, and reads of r
	watch    *watchdog
	detached bool
	err      error // of r
}

func (b *uploadBody) attach(watch *watchdog) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watch, b.detached = watch, false
}

func (b *uploadBody) detach() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.detached = true
}

// problem is the error that reading r gave.
func (b *uploadBody) problem() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// open gives a reader from the beginning.
func (b *uploadBody) open() (io.ReadCloser, error) {
	if b.size == 0 {
		return http.NoBody, nil
	}
	return &bodyReader{b: b}, nil
}

type bodyReader struct {
	b   *uploadBody
	off int64
}

func (r *bodyReader) Close() error { return nil }

func (r *bodyReader) Read(p []byte) (int, error) {
	if left := r.b.size - r.off; left > 0 {
		p = p[:r.b.limit.step(int(min(int64(len(p)), left)))]
		if err := r.b.limit.wait(r.b.watch.ctx, len(p)); err != nil {
			return 0, err
		}
	}
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	if r.b.detached {
		return 0, context.Canceled
	}
	r.b.watch.touch()
	p = p[:min(int64(len(p)), r.b.size-r.off)]
	if len(p) == 0 {
		return 0, io.EOF
	}
	n, err := r.b.r.ReadAt(p, r.off)
	if n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		r.b.err = err
		return n, err
	}
	r.off += int64(n)
	if r.b.sent != nil {
		r.b.sent(int64(n))
	}
	return n, nil
}
