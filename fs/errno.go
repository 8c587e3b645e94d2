//go:build linux

package fs

import (
	"context"
	"errors"
	iofs "io/fs"
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// toStatus is the one place where an error becomes what the kernel is told. An
// error that names no errno is EIO, and one log line says what it was.
func toStatus(log *slog.Logger, what string, err error) fuse.Status {
	if err == nil {
		return fuse.OK
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return fuse.Status(errno)
	}
	for _, known := range []struct {
		err    error
		status syscall.Errno
	}{
		{iofs.ErrNotExist, syscall.ENOENT},
		{iofs.ErrExist, syscall.EEXIST},
		{iofs.ErrPermission, syscall.EACCES},
		{iofs.ErrInvalid, syscall.EINVAL},
		{iofs.ErrClosed, syscall.EBADF},
		{context.Canceled, syscall.EINTR},
		{context.DeadlineExceeded, syscall.ETIMEDOUT},
	} {
		if errors.Is(err, known.err) {
			return fuse.Status(known.status)
		}
	}
	log.Error("a request failed in a way that has no errno", "request", what, "error", err)
	return fuse.EIO
}
