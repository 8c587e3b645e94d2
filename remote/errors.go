package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// Conditions of the client beyond those of blob.
var (
	// ErrNotServer says that something answers at the address, but no syncfs
	// server of this API.
	ErrNotServer = errors.New("this is not a syncfs server")
	// ErrBusy says that another process serves the same data directory.
	ErrBusy = errors.New("the data directory is in use")
	// ErrSilent says that the server is connected, as far as we know, and gives
	// no sign of life.
	ErrSilent = errors.New("it gives no sign of life")

	errStalled = errors.New("no progress")
	// errGarbled is an answer that is not HTTP: mostly no server of ours, but a
	// connection that was cut inside the headers looks the same.
	errGarbled = errors.New("its answer is not HTTP")
)

// code names a condition on the wire.
type code string

const (
	codeBadRequest   code = "bad_request"
	codeUnauthorized code = "unauthorized"
	codeForbidden    code = "forbidden"
	codeNotFound     code = "not_found"
	codeExists       code = "exists" // the name is taken by other content, or it was not compared
	codeDone         code = "done"   // the name is taken by the very content that was announced
	codeMoved        code = "moved"
	codeOffset       code = "offset" // an upload goes on somewhere else; Offset says where
	codeRange        code = "range"
	codeTooLarge     code = "too_large"
	codeCorrupt      code = "corrupt"
	codeTurn         code = "turn" // another client has its turn
	codeSlowDown     code = "slow_down"
	codeInterrupted  code = "interrupted" // the body ended early, or a newer request took over
	codeInternal     code = "internal"
	codeFull         code = "full"
	codeStopping     code = "stopping"
)

// status is the one table of codes and HTTP statuses.
func (c code) status() int {
	switch c {
	case codeBadRequest, codeInterrupted:
		return http.StatusBadRequest
	case codeUnauthorized:
		return http.StatusUnauthorized
	case codeForbidden:
		return http.StatusForbidden
	case codeNotFound:
		return http.StatusNotFound
	case codeExists, codeDone, codeMoved, codeOffset:
		return http.StatusConflict
	case codeRange:
		return http.StatusRequestedRangeNotSatisfiable
	case codeTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeCorrupt:
		return http.StatusUnprocessableEntity
	case codeTurn:
		return http.StatusLocked
	case codeSlowDown:
		return http.StatusTooManyRequests
	case codeFull:
		return http.StatusInsufficientStorage
	case codeStopping:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// answer is an error as it goes over the wire.
type answer struct {
	Code    code      `json:"code"`
	Message string    `json:"message"`
	Offset  int64     `json:"offset,omitempty"` // codeOffset
	Head    *wireHead `json:"head,omitempty"`   // codeMoved: the head as it is now

	retryAfter time.Duration
}

func (a *answer) Error() string { return a.Message }

// Unwrap gives the condition that callers of blob.Store branch on.
func (a *answer) Unwrap() error {
	switch a.Code {
	case codeUnauthorized:
		return blob.ErrUnauthorized
	case codeForbidden:
		return forbidden
	case codeNotFound:
		return fs.ErrNotExist
	case codeExists, codeDone:
		return fs.ErrExist
	case codeMoved, codeTurn:
		return blob.ErrMoved
	case codeCorrupt:
		return blob.ErrCorrupt
	case codeFull:
		return blob.ErrFull
	case codeStopping, codeSlowDown:
		return blob.ErrOffline
	}
	return nil
}

// forbidden is both: the key is not accepted for this, and it is not permitted.
var forbidden = errors.Join(blob.ErrUnauthorized, fs.ErrPermission)

func refuse(c code, format string, args ...any) *answer {
	return &answer{Code: c, Message: fmt.Sprintf(format, args...)}
}

// answerTo maps an error about an object to what is sent for it: the one place
// on the server. Only our own words go out: the text of a store's error may
// name paths of the server's disk, and the log has it.
func answerTo(err error, object string) *answer {
	var a *answer
	var tooLarge *http.MaxBytesError
	about := func(c code, condition error) *answer {
		if object == "" {
			return refuse(c, "%s", condition)
		}
		return refuse(c, "%s: %s", object, condition)
	}
	switch {
	case errors.As(err, &a):
		return a
	case errors.Is(err, fs.ErrNotExist):
		return about(codeNotFound, fs.ErrNotExist)
	case errors.Is(err, fs.ErrExist):
		return about(codeExists, fs.ErrExist)
	case errors.Is(err, blob.ErrMoved):
		return about(codeMoved, blob.ErrMoved)
	case errors.Is(err, blob.ErrFull), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return about(codeFull, blob.ErrFull)
	case errors.Is(err, blob.ErrCorrupt):
		return about(codeCorrupt, blob.ErrCorrupt)
	case errors.Is(err, errCommitBody):
		return about(codeBadRequest, errCommitBody)
	case errors.As(err, &tooLarge):
		return refuse(codeTooLarge, "the body is longer than %d bytes", tooLarge.Limit)
	case errors.Is(err, context.Canceled), errors.Is(err, blob.ErrOffline):
		return refuse(codeStopping, "the server cannot do this just now")
	}
	return refuse(codeInternal, "the server has a problem; its log says more")
}

// errorOf maps an answer that is no success to an error: the one place on the
// client. It reads the body, and closes it.
func errorOf(resp *http.Response) error {
	defer resp.Body.Close()
	if resp.Header.Get(headerAPI) == "" {
		switch resp.StatusCode {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return fmt.Errorf("%w: a proxy answers %s", blob.ErrOffline, clip(resp.Status))
		}
		return fmt.Errorf("%w: it answers %q", ErrNotServer, clip(resp.Status))
	}
	a := new(answer)
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && len(body) > 0 {
		err = json.Unmarshal(body, a)
	}
	if err != nil || a.Code.status() != resp.StatusCode {
		a = &answer{Code: codeOfStatus(resp.StatusCode)}
	}
	a.Message = printable(a.Message)
	if a.Message == "" {
		a.Message = "the server answers " + clip(resp.Status)
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		a.retryAfter = time.Duration(min(seconds, 60)) * time.Second
	}
	return a
}

// codeOfStatus reads an answer without a body, as those to HEAD are.
func codeOfStatus(status int) code {
	for _, c := range []code{codeBadRequest, codeUnauthorized, codeForbidden, codeNotFound, codeRange,
		codeTooLarge, codeCorrupt, codeTurn, codeSlowDown, codeFull, codeStopping} {
		if c.status() == status {
			return c
		}
	}
	return codeInternal
}

// printable keeps a peer's text from playing with a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, clip(s))
}

// UntrustedError says that the server's certificate is not known. The caller
// decides whether to trust it, by passing Fingerprint as ClientOptions.Pin.
type UntrustedError struct {
	Fingerprint string // of the certificate that the server showed
	Pinned      string // what was expected; "" when nothing was
	Reason      error  // why the certificate is not trusted by itself; may be nil
}

func (e *UntrustedError) Error() string {
	if e.Pinned != "" {
		return fmt.Sprintf("the server shows certificate %s where %s is pinned", e.Fingerprint, e.Pinned)
	}
	return fmt.Sprintf("the server's certificate %s is not trusted: %v", e.Fingerprint, e.Reason)
}

// Unwrap gives the reason.
func (e *UntrustedError) Unwrap() error { return e.Reason }
