package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/blob"
)

// Data is a server's data directory, open and locked:
//
//	repo/               the repository: a blob.Dir
//	server/lock         who serves it
//	server/tokens.json  hashed keys
//	server/tls.pem      self-signed certificate and key
//	server/operations.jsonl
//	server/partial/     unfinished uploads
//	uploads/            plain files: Uploads
type Data struct {
	Store      *blob.Dir
	Uploads    *Uploads
	Tokens     *Tokens
	Operations *Operations

	dir  string
	o    DataOptions
	lock *os.File
}

// DataOptions of OpenData; the zero value is fine.
type DataOptions struct {
	Now    func() time.Time
	Logger *slog.Logger
}

// BusyError says which process serves a data directory already. It is ErrBusy.
type BusyError struct {
	Dir string
	PID int // 0: not known
}

func (e *BusyError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s is served by another process", e.Dir)
	}
	return fmt.Sprintf("%s is served by process %d", e.Dir, e.PID)
}

// Is makes it ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// OpenData opens the data directory dir and makes what is missing. A second
// server on it is refused with a BusyError.
func OpenData(dir string, o DataOptions) (_ *Data, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := atomicfile.MkdirAll(filepath.Join(dir, "server/partial"), 0o700); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	d := &Data{dir: dir, o: o}
	if err := d.takeLock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close())
		}
	}()
	if d.Tokens, err = LoadTokens(TokenFile(dir), o.Now); err != nil {
		return nil, err
	}
	if d.Operations, err = OpenOperations(filepath.Join(dir, "server", "operations.jsonl"), o.Now, o.Logger); err != nil {
		return nil, err
	}
	if d.Uploads, err = OpenUploads(UploadDir(dir), o.Now, o.Logger); err != nil {
		return nil, err
	}
	if err = d.Uploads.sweepTemp(); err != nil {
		return nil, err
	}
	d.Store, err = blob.OpenDir(filepath.Join(dir, "repo"), blob.DirOptions{Now: o.Now, Logger: o.Logger})
	return d, err
}

// TokenFile is where the tokens of a data directory lie. They may be changed
// while it is served.
func TokenFile(dir string) string { return filepath.Join(dir, "server", "tokens.json") }

// UploadDir is where the plain files of a data directory lie: see Uploads.
func UploadDir(dir string) string { return filepath.Join(dir, "uploads") }

// ServerOptions are those of a Server on this directory.
func (d *Data) ServerOptions() ServerOptions {
	return ServerOptions{
		Store: d.Store, Uploads: d.Uploads, Tokens: d.Tokens, Operations: d.Operations,
		PartialDir: filepath.Join(d.dir, "server", "partial"),
		Logger:     d.o.Logger, Now: d.o.Now,
	}
}

// SelfSigned is the directory's own certificate; it is made at the first call.
func (d *Data) SelfSigned(hosts []string) (*tls.Config, string, error) {
	return SelfSigned(filepath.Join(d.dir, "server", "tls.pem"), hosts, d.o.Now)
}

func (d *Data) takeLock() error {
	path := filepath.Join(d.dir, "server", "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock data directory: %w", err)
	}
	held, err := lockFile(f, false)
	if err != nil {
		f.Close()
		return fmt.Errorf("lock data directory %s: %w", d.dir, err)
	}
	if held {
		text, rerr := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if rerr != nil || err != nil {
			pid = 0
		}
		return &BusyError{Dir: d.dir, PID: pid}
	}
	d.lock = f
	if err := f.Truncate(0); err != nil {
		return errors.Join(err, d.Close())
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return errors.Join(fmt.Errorf("lock data directory: %w", err), d.Close())
	}
	return nil
}

// Close gives the directory free. The server must have stopped.
func (d *Data) Close() error {
	var errs []error
	if d.Store != nil {
		errs = append(errs, d.Store.Close())
	}
	if d.Operations != nil {
		errs = append(errs, d.Operations.Close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}
