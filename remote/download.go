package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"

	"github.com/syncfs/syncfs/internal/blob"
)

// Get is blob.Store.Get. A download that breaks goes on where it was; a whole
// object is verified against the server's digest before its end is told.
func (c *Client) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if !blob.ValidName(name) || offset < 0 {
		return nil, fmt.Errorf("get %q from %d: not a name or an offset", clip(name), offset)
	}
	if length == 0 {
		if _, err := c.Stat(ctx, name); err != nil {
			return nil, err
		}
		return http.NoBody, nil
	}
	d := &download{c: c, ctx: ctx, name: name, next: offset, end: -1, tries: c.attempts("get " + name)}
	for {
		err := d.open(length)
		if err == nil {
			return d, nil
		}
		var said *answer
		if errors.As(err, &said) && said.Code == codeRange {
			return http.NoBody, nil // all lies behind the end
		}
		if err := d.tries.again(ctx, err); err != nil {
			return nil, fmt.Errorf("get %s: %w", name, err)
		}
	}
}

// download reads an object, over as many answers as it takes.
type download struct {
	c    *Client
	ctx  context.Context // of this Get; it ends the reading too
	name string

	next, end int64 // bytes still to come; end is -1 until the first answer
	reply     *reply
	tries     *attempts

	sum  hash.Hash // nil: a part, which has no digest
	want digest
	err  error // all Reads return it
}

// open asks for what is still to come; length bytes of it at the first time, or
// all when that is negative.
func (d *download) open(length int64) error {
	header := http.Header{}
	last := ""
	switch {
	case d.end >= 0:
		last = fmt.Sprint(d.end - 1)
	case length > 0 && d.next+length > d.next:
		last = fmt.Sprint(d.next + length - 1)
	}
	whole := d.next == 0 && last == ""
	if !whole {
		header.Set("Range", fmt.Sprintf("bytes=%d-%s", d.next, last))
	}
	reply, err := d.c.once(d.ctx, exchange{method: http.MethodGet, path: "/v1/blobs/" + d.name, header: header})
	if err != nil {
		return err
	}
	if whole {
		err = d.acceptWhole(reply)
	} else {
		err = d.acceptPart(reply, length)
	}
	if err != nil {
		reply.Close()
		return fmt.Errorf("%w: %w", ErrNotServer, err)
	}
	d.reply = reply
	return nil
}

func (d *download) acceptWhole(reply *reply) (err error) {
	r := reply.response
	if r.StatusCode != http.StatusOK || r.ContentLength < 0 {
		return fmt.Errorf("it answers %q with %d bytes to a get", clip(r.Status), r.ContentLength)
	}
	if d.want, err = parseDigest(r.Header.Get(headerDigest)); err != nil {
		return err
	}
	d.end, d.sum = r.ContentLength, sha256.New()
	return nil
}

func (d *download) acceptPart(reply *reply, length int64) error {
	r := reply.response
	first, last, total, err := parseContentRange(r.Header.Get("Content-Range"))
	if err != nil {
		return err
	}
	end := total
	switch {
	case d.end >= 0:
		end = d.end
	case length > 0:
		end = min(total, d.next+length)
	}
	if r.StatusCode != http.StatusPartialContent || first != d.next || last+1 != end || r.ContentLength != end-first {
		return fmt.Errorf("it answers with bytes %d to %d, %d of them, where %d to %d were asked for",
			first, last, r.ContentLength, d.next, end-1)
	}
	d.end = end
	return nil
}

// Read reads on, through broken connections.
func (d *download) Read(p []byte) (int, error) {
	for d.err == nil {
		if d.next == d.end {
			d.err = d.finish()
			break
		}
		if len(p) == 0 {
			return 0, nil
		}
		n, err := d.step(p)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			d.reply.Close()
			d.err = d.reopen(err)
		}
	}
	return 0, d.err
}

// step reads from the answer at hand.
func (d *download) step(p []byte) (int, error) {
	p = p[:min(int64(len(p)), d.end-d.next)]
	n, err := d.reply.Read(p[:d.c.down.step(len(p))])
	if n > 0 {
		if err := d.c.down.wait(d.ctx, n); err != nil {
			return 0, err
		}
		d.reply.watch.touch()
		d.tries.progress()
		d.next += int64(n)
		if d.sum != nil {
			d.sum.Write(p[:n])
		}
		return n, nil
	}
	if err == io.EOF {
		err = fmt.Errorf("%w: %w", blob.ErrOffline, io.ErrUnexpectedEOF)
	}
	return 0, err
}

// finish is the end of what was asked for.
func (d *download) finish() error {
	if d.sum != nil && !d.want.equal(d.sum.Sum(nil)) {
		return fmt.Errorf("get %s: %w", d.name, blob.ErrCorrupt)
	}
	return io.EOF
}

// reopen goes on after an error, or returns what ends the reading.
func (d *download) reopen(err error) error {
	for {
		if err := d.tries.again(d.ctx, err); err != nil {
			return fmt.Errorf("get %s: %w", d.name, err)
		}
		if err = d.open(-1); err == nil {
			return nil
		}
	}
}

// Close ends the download.
func (d *download) Close() error {
	if d.err == nil {
		d.err = errClosed
	}
	d.reply.Close() // of a body that nobody wants any more
	return nil
}

var errClosed = errors.New("read of a closed download")
