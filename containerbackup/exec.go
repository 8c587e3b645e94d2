package containerbackup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// command is a program to be run in a container that runs.
type command struct {
	args   []string
	user   string // "": the container's own
	stdin  io.Reader
	stdout io.Writer // nil: not wanted
}

// exitError is a program in a container that did not end well.
type exitError struct {
	code   int
	stderr string
}

func (e *exitError) Error() string {
	if e.stderr == "" {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return fmt.Sprintf("exit code %d: %s", e.code, e.stderr)
}

// maxStderr bounds what is kept of what a program complains of: its end.
const maxStderr = 4 << 10

// exec runs a program to its end. Its error is an *exitError where it ended, but
// not with 0; what it wrote to stderr is returned as well.
func (e *Engine) exec(ctx context.Context, id string, c command) (stderr string, err error) {
	created, err := e.api.ExecCreate(ctx, id, client.ExecCreateOptions{
		User: c.user, Cmd: c.args, AttachStdin: c.stdin != nil, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return "", err
	}
	got, err := e.api.ExecAttach(ctx, created.ID, client.ExecAttachOptions{})
	if err != nil {
		return "", err
	}
	defer got.Close()
	defer context.AfterFunc(ctx, got.Close)()
	complaint := &tail{max: maxStderr}
	out := c.stdout
	if out == nil {
		out = io.Discard
	}
	sent := make(chan error, 1)
	go func() {
		var err error
		if c.stdin != nil {
			_, err = io.Copy(got.Conn, c.stdin)
			err = errors.Join(err, got.CloseWrite())
		}
		sent <- err
	}()
	_, err = stdcopy.StdCopy(out, complaint, got.Reader)
	if err != nil || c.stdin == nil {
		got.Close()
	}
	stderr = strings.TrimSpace(complaint.String())
	if ctx.Err() != nil {
		got.Close()
		<-sent
		return stderr, ctx.Err()
	}
	if err != nil {
		<-sent
		return stderr, fmt.Errorf("read its output: %w", err)
	}
	code, err := e.exitCode(ctx, created.ID)
	// A program that has ended reads no more.
	got.Close()
	sendErr := <-sent
	switch {
	case err != nil:
		return stderr, err
	case code != 0:
		return stderr, &exitError{code: code, stderr: stderr}
	}
	return stderr, sendErr
}

// exitCode waits for the end of a program that has closed its output.
func (e *Engine) exitCode(ctx context.Context, execID string) (int, error) {
	for range 600 {
		got, err := e.api.ExecInspect(ctx, execID, client.ExecInspectOptions{})
		if err != nil {
			return 0, fmt.Errorf("how it ended is not known: %w", err)
		}
		if !got.Running {
			return got.ExitCode, nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("it has closed its output, but does not end")
}

// output runs a program and returns what it printed.
func (e *Engine) output(ctx context.Context, id string, c command) (string, error) {
	var out bytes.Buffer
	c.stdout = &out
	_, err := e.exec(ctx, id, c)
	return strings.TrimSpace(out.String()), err
}

// tail keeps the end of what is written to it.
type tail struct {
	max  int
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p[max(0, len(p)-t.max):]...)
	if len(t.data) > 2*t.max {
		t.data = append(t.data[:0], t.data[len(t.data)-t.max:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.data[max(0, len(t.data)-t.max):]) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
