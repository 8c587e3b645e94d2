package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/remote"
	"github.com/syncfs/syncfs/versions"
)

// Exit codes are an API: listed in the README and in the help, never
// renumbered. 2 stays the Go runtime's.
const (
	exitOK           = 0
	exitFailed       = 1
	exitPartial      = 3
	exitConflicts    = 4
	exitOffline      = 5
	exitDamaged      = 6
	exitNoRepository = 10
	exitBusy         = 11
	exitWrongKey     = 12
	exitInterrupted  = 130
)

const noRepositoryHint = "`syncfs init URL` makes a repository, `syncfs connect URL` uses one that is there, `syncfs up` makes one on this machine"

// failure is an error that knows its exit code, or what the user can do.
type failure struct {
	err  error
	code int // 0: as the error says
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// hinted adds to err what the user can do about it.
func hinted(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &failure{err: err, hint: fmt.Sprintf(format, args...)}
}

// coded gives err an exit code of its own.
func coded(code int, err error) error {
	if err == nil {
		return nil
	}
	return &failure{err: err, code: code}
}

// usage is a command line that cannot be meant.
func usage(format string, args ...any) error {
	return hinted(fmt.Errorf(format, args...), "--help says how a command is called")
}

// classify is the one place where an error becomes an exit code and a hint.
func classify(err error) (code int, hint string) {
	code, hint = byKind(err)
	// The outermost deliberate code and hint win over those of the kind.
	var found *failure
	for rest := err; errors.As(rest, &found); rest = found.err {
		if found.code != 0 {
			code = found.code
			break
		}
	}
	for rest := err; errors.As(rest, &found); rest = found.err {
		if found.hint != "" {
			return code, found.hint
		}
	}
	return code, hint
}

// byKind knows the conditions that packages declare.
func byKind(err error) (code int, hint string) {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return exitOK, ""
	case is(context.Canceled):
		return exitInterrupted, ""
	case is(agent.ErrNotConnected):
		return exitNoRepository, noRepositoryHint
	case is(agent.ErrNotRunning):
		return exitFailed, "`syncfs mount --all --detach` starts it"
	case is(agent.ErrRunning):
		return exitBusy, "`syncfs stop` ends it"
	case is(agent.ErrBusy, remote.ErrBusy, store.ErrInUse):
		return exitBusy, ""
	case is(agent.ErrLocked):
		return exitWrongKey, "`syncfs unlock` asks for the passphrase"
	case is(agent.ErrPaused):
		return exitFailed, "`syncfs resume` lets it go on"
	case is(agent.ErrTimeout):
		return exitOffline, "nothing is lost: it is on this machine and is sent when the remote can be reached; `syncfs status` says more"
	case is(agent.ErrUnknown, line.ErrUnknown):
		return exitFailed, "`syncfs folders` lists the folders there are"
	case is(containerbackup.ErrNoEngine):
		return exitFailed, "start it (`systemctl start docker`), or name another with DOCKER_HOST"
	case is(containerbackup.ErrNewer):
		return exitFailed, "a newer syncfs understands it"
	case is(containerbackup.ErrMismatch):
		return exitDamaged, "`syncfs container verify` names every file that differs; other backups are in `syncfs container list`"
	case is(remote.ErrNotServer):
		return exitFailed, "is this the address that `syncfs serve` printed?"
	case is(blob.ErrUnauthorized):
		return exitWrongKey, "give the server's key with --key, --key-file or SYNCFS_KEY; `syncfs serve token list` on the server shows which there are"
	case is(seal.ErrAuth):
		return exitWrongKey, "the passphrase or key does not open this repository; `syncfs key list` on a connected machine shows which there are"
	case is(store.ErrNoRepository):
		return exitNoRepository, noRepositoryHint
	case is(store.ErrExists):
		return exitFailed, "`syncfs connect URL` uses the repository that is there"
	case is(store.ErrCorrupt, versions.ErrCorrupt, blob.ErrCorrupt):
		return exitDamaged, "`syncfs check --read-data` names everything that is damaged; all else can still be read"
	case is(blob.ErrOffline):
		return exitOffline, "nothing is lost: changes wait on this machine until the server can be reached"
	case is(blob.ErrFull, store.ErrSpoolFull, syscall.ENOSPC):
		return exitFailed, "make room; what was acknowledged is kept, and work goes on by itself"
	case is(line.ErrBackwards):
		return exitDamaged, "the server shows an older state than it did before: was it restored from a backup?"
	case is(context.DeadlineExceeded):
		return exitOffline, ""
	case is(fs.ErrPermission):
		return exitFailed, "this needs more rights than the user has"
	}
	return exitFailed, ""
}

// report prints what went wrong, if anything, and returns the exit code.
func (e *env) report(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	code, hint := classify(err)
	if code == exitInterrupted || ctx.Err() != nil && code == exitFailed {
		code = exitInterrupted
		err = errors.New("interrupted")
		hint = ""
	}
	if errors.Is(err, errSaid) {
		return code
	}
	text := sentence(err)
	if e.json {
		m := message{"message_type": "exit_error", "code": code, "message": text}
		if hint != "" {
			m["hint"] = hint
		}
		e.jsonLine(e.stderr, m)
		return code
	}
	fmt.Fprintf(e.stderr, "syncfs: %s\n", text)
	for _, line := range strings.Split(hint, "\n") {
		if line != "" {
			fmt.Fprintf(e.stderr, "hint: %s\n", line)
		}
	}
	return code
}

// sentence is an error's text on one line per joined error.
func sentence(err error) string { return strings.TrimSpace(err.Error()) }
