package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
)

// background is a syncfs that goes on when this one has ended.
type background struct {
	cmd   *exec.Cmd
	out   io.ReadCloser // its stdout; closed once it is ready
	log   string
	begin int64 // where its part of the log begins
}

// spawn starts this program with no terminal, at /, with its stderr in a log, and
// without the secrets of the environment.
func (e *env) spawn(dirs config.Dirs, logName string, session *syscall.SysProcAttr, args ...string) (*background, error) {
	if err := os.MkdirAll(dirs.State, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dirs.State, logName)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	b := &background{cmd: exec.Command(e.exe, args...), log: path, begin: begin}
	b.cmd.Dir = string(filepath.Separator)
	b.cmd.Env = withoutSecrets(os.Environ())
	b.cmd.Stderr = log
	b.cmd.SysProcAttr = session
	if b.out, err = b.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start in the background: %w", err)
	}
	return b, nil
}

// withoutSecrets leaves out what opens a repository or a server: what runs for
// long has no need of it.
func withoutSecrets(environ []string) []string {
	var kept []string
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "SYNCFS_PASSWORD") && !strings.HasPrefix(name, "SYNCFS_NEW_PASSWORD") && !strings.HasPrefix(name, "SYNCFS_KEY") {
			kept = append(kept, v)
		}
	}
	return kept
}

// firstLine waits until the process prints a line: it is ready. When it ends
// before, the error is the one that it printed into its log.
func (b *background) firstLine(ctx context.Context) (string, error) {
	type result struct {
		line string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(b.out).ReadString('\n')
		got <- result{line, err}
	}()
	select {
	case <-ctx.Done():
		b.kill()
		<-got
		return "", ctx.Err()
	case r := <-got:
		if r.err != nil {
			return "", b.failure()
		}
		return strings.TrimSuffix(r.line, "\n"), b.cmd.Process.Release()
	}
}

// kill ends a process that is not wanted after all.
func (b *background) kill() {
	_ = b.cmd.Process.Signal(os.Interrupt)
	timer := time.AfterFunc(10*time.Second, func() { _ = b.cmd.Process.Kill() })
	defer timer.Stop()
	_ = b.cmd.Wait()
}

// failure is why the process ended.
func (b *background) failure() error {
	err := b.cmd.Wait()
	data := b.logged()
	var text, hint []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if t, ok := strings.CutPrefix(line, "syncfs: "); ok {
			text = append(text, t)
		} else if h, ok := strings.CutPrefix(line, "hint: "); ok {
			hint = append(hint, h)
		}
	}
	if len(text) == 0 {
		text, hint = []string{"the background process ended before it was ready"}, []string{"its log is " + b.log}
	}
	f := &failure{err: errors.New(text[len(text)-1]), hint: strings.Join(hint, "\n"), code: exitFailed}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		f.code = exit.ExitCode()
	}
	return f
}

func (b *background) logged() []byte {
	f, err := os.Open(b.log)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, b.begin, 1<<20))
	if err != nil {
		return nil
	}
	return bytes.TrimSpace(data)
}

// agentLog is where the background agent writes what happens.
const agentLog = "agent.log"

// askedTime is how long a keyring that asks its user is waited for.
const askedTime = 30 * time.Second

// startAgent starts the agent in the background and returns when it answers.
func (e *env) startAgent(ctx context.Context, dirs config.Dirs) error {
	// Where it starts at login its manager starts it: that one starts it again
	// when it was killed, and it outlives the session that we are in.
	if l, err := e.login(); err == nil && l.CanStart(ctx) {
		if err := l.Start(ctx); err != nil {
			return hinted(err, "`journalctl --user -u syncfs` says why")
		}
		e.say("started the agent (service syncfs of the user's systemd)")
		return nil
	}
	if err := trimLog(filepath.Join(dirs.State, agentLog)); err != nil {
		return err
	}
	b, err := e.spawn(dirs, agentLog, ownSession(), "agent")
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		// The agent prints nothing before it ends.
		_, _ = io.Copy(io.Discard, b.out)
		close(ended)
	}()
	patience := time.Now().Add(askedTime)
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			b.kill()
			return ctx.Err()
		case <-ended:
			return b.failure()
		case <-pause.C:
		}
		c, err := agent.Dial(dirs)
		if errors.Is(err, agent.ErrNotRunning) {
			continue
		}
		if err != nil {
			return err
		}
		s, err := c.Status(ctx)
		c.Close()
		if err != nil || s.Locked && s.Error == "" && time.Now().Before(patience) {
			continue // it looks for the passphrase, or has just found it
		}
		e.say("started the agent in the background (pid %d, log %s)", b.cmd.Process.Pid, b.log)
		return b.cmd.Process.Release()
	}
}

// trimLog keeps the last part of a log that has grown large.
func trimLog(path string) error {
	const most, keep = 8 << 20, 1 << 20
	info, err := os.Stat(path)
	if err != nil || info.Size() < most {
		return nil // absent or small
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	tail, err := io.ReadAll(io.NewSectionReader(f, info.Size()-keep, keep))
	if err != nil {
		return err
	}
	if i := bytes.IndexByte(tail, '\n'); i >= 0 {
		tail = tail[i+1:]
	}
	return os.WriteFile(path, tail, 0o600)
}
