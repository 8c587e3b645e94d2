package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// Conditions that a caller may branch on, besides those of blob, line, seal,
// store and io/fs, which keep their class over the control socket too.
var (
	ErrNotRunning   = errors.New("no agent is running")
	ErrRunning      = errors.New("an agent is running already")
	ErrConnected    = errors.New("this machine is connected to a repository already")
	ErrNotConnected = errors.New("this machine is not connected to a repository")
	ErrOutside      = errors.New("the path is in no folder")
	ErrUnknown      = errors.New("there is no such folder")
	ErrRefused      = errors.New("this cannot be a folder")
	ErrBusy         = errors.New("busy")
	ErrTimeout      = errors.New("not everything is on the remote yet")
	ErrNoInstant    = errors.New("there is no version at that time")
	ErrMount        = errors.New("cannot mount")
	ErrPaused       = syncer.ErrPaused
	ErrStopped      = errors.New("the agent has stopped")
	ErrNoRule       = syncer.ErrNoRule
	ErrOffline      = blob.ErrOffline
	ErrLocked       = errors.New("a passphrase protects this machine's key, and it is not unlocked")
)

// codes is the one table of error classes on the control socket. The first that
// matches names an error's class, so narrower ones stand before wider ones.
func codes() []struct {
	code string
	err  error
} {
	return []struct {
		code string
		err  error
	}{
		{"not-running", ErrNotRunning},
		{"running", ErrRunning},
		{"stopped", ErrStopped},
		{"paused", ErrPaused},
		{"locked", ErrLocked},
		{"connected", ErrConnected},
		{"not-connected", ErrNotConnected},
		{"outside", ErrOutside},
		{"unknown-folder", ErrUnknown},
		{"unknown-line", line.ErrUnknown},
		{"refused", ErrRefused},
		{"busy", ErrBusy},
		{"unauthorized", blob.ErrUnauthorized}, // also when it is why a flush ended
		{"timeout", ErrTimeout},
		{"no-instant", ErrNoInstant},
		{"no-rule", ErrNoRule},
		{"mount", ErrMount},
		{"nothing-held", syncer.ErrNothingHeld},
		{"not-replaced", syncer.ErrNotReplaced},
		{"foreign", syncer.ErrForeign},
		{"no-repository", store.ErrNoRepository}, // also of a directory that cannot be reached
		{"offline", blob.ErrOffline},
		{"full", blob.ErrFull},
		{"corrupt-blob", blob.ErrCorrupt},
		{"repository-exists", store.ErrExists},
		{"corrupt", store.ErrCorrupt},
		{"corrupt-version", versions.ErrCorrupt},
		{"spool-full", store.ErrSpoolFull},
		{"auth", seal.ErrAuth},
		{"backwards", line.ErrBackwards},
		{"moved", line.ErrMoved},
		{"not-directory", versions.ErrNotDir},
		{"exists", fs.ErrExist},
		{"not-found", fs.ErrNotExist},
		{"permission", fs.ErrPermission},
		{"canceled", context.Canceled},
	}
}

// wireError is an error on the control socket.
type wireError struct {
	Code string `json:"code,omitempty"`
	Text string `json:"error"`
}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Text: err.Error()}
	for _, c := range codes() {
		if errors.Is(err, c.err) {
			w.Code = c.code
			break
		}
	}
	return w
}

// remoteError is an error that the agent told of: its words, and its class for
// errors.Is.
type remoteError struct {
	text  string
	class error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.class }

func fromWire(w *wireError) error {
	if w == nil {
		return nil
	}
	for _, c := range codes() {
		if c.code == w.Code {
			return &remoteError{text: w.Text, class: c.err}
		}
	}
	return fmt.Errorf("%s", w.Text)
}
