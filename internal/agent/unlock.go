package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
)

// Secret is where the passphrase that protects this machine's key may be.
type Secret struct {
	Name string // as a user knows it
	// Get returns it. ErrNotYet: it may be there later, such as in a keyring that
	// starts after us; ErrNoSecret: it is not set up.
	Get func(context.Context) (string, error)
}

// What a Secret may answer.
var (
	ErrNotYet   = errors.New("it does not answer yet")
	ErrNoSecret = errors.New("no passphrase is there")
)

// askAgain is how often a Secret that was not there yet is asked again.
const askAgain = 5 * time.Second

// Protect puts this machine's key under a passphrase of the repository: from then
// on an agent that starts needs it. ErrRunning while one runs.
func Protect(ctx context.Context, dirs config.Dirs, passphrase string) error {
	r, err := OpenRepository(ctx, dirs, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	keys, err := store.Unlock(ctx, r.Remote, passphrase)
	if err != nil {
		return err
	}
	if keys.RepositoryID() != r.Setup.Repository {
		return fmt.Errorf("the passphrase opens repository %.8s, not %.8s", keys.RepositoryID(), r.Setup.Repository)
	}
	lock, err := takeLock(lockFile(dirs))
	if err != nil {
		return err
	}
	defer lock.Close()
	identity, err := readIdentity(dirs)
	if err != nil {
		return err
	}
	wrapped, err := seal.WrapIdentity(identity, passphrase, 0)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(protectedFile(dirs), wrapped, 0o600); err != nil {
		return err
	}
	return atomicfile.Remove(identityFile(dirs))
}

// Unprotect takes the passphrase off this machine's key. ErrRunning while an
// agent runs; seal.ErrAuth for a wrong passphrase.
func Unprotect(dirs config.Dirs, passphrase string) error {
	if _, err := readRepository(dirs); err != nil {
		return err
	}
	lock, err := takeLock(lockFile(dirs))
	if err != nil {
		return err
	}
	defer lock.Close()
	identity, err := unwrapIdentity(dirs, passphrase)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(identityFile(dirs), []byte(identity+"\n"), 0o600); err != nil {
		return err
	}
	return atomicfile.Remove(protectedFile(dirs))
}

// Protected tells whether a passphrase protects this machine's key.
func Protected(dirs config.Dirs) bool {
	_, err := readIdentity(dirs)
	return errors.Is(err, ErrLocked)
}

// readIdentity is this machine's identity; ErrLocked.
func readIdentity(dirs config.Dirs) (string, error) {
	data, err := os.ReadFile(identityFile(dirs))
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if _, perr := os.Stat(protectedFile(dirs)); perr == nil && errors.Is(err, fs.ErrNotExist) {
		return "", ErrLocked
	}
	return "", fmt.Errorf("this machine's key: %w", err)
}

func unwrapIdentity(dirs config.Dirs, passphrase string) (string, error) {
	data, err := os.ReadFile(protectedFile(dirs))
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("no passphrase protects this machine's key")
	}
	if err != nil {
		return "", fmt.Errorf("this machine's key: %w", err)
	}
	identity, err := seal.UnwrapIdentity(data, passphrase)
	if err != nil {
		return "", fmt.Errorf("this machine's key: %w", err)
	}
	return identity, nil
}

// askIdentity asks the agent, which is the same user and has it. ErrLocked.
func askIdentity(ctx context.Context, dirs config.Dirs) (identity string, err error) {
	c, err := Dial(dirs)
	if errors.Is(err, ErrNotRunning) {
		return "", ErrLocked
	}
	if err != nil {
		return "", err
	}
	defer c.Close()
	return identity, c.get(ctx, "identity", nil, &identity)
}

// unlock finds this machine's identity: it lies there, a Secret has the
// passphrase that protects it, or somebody gives it to the locked agent, which
// serves nothing till then. ErrStopped when that is stopped.
func (a *Agent) unlock(ctx context.Context) (err error) {
	if a.identity, err = readIdentity(a.o.Dirs); !errors.Is(err, ErrLocked) {
		return err
	}
	l := &locked{a: a, got: make(chan string, 1)}
	listener, err := listen(a.o.Dirs)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	l.stop = stop
	c := &control{a: a, cancel: stop, server: &http.Server{Handler: l.mux(), ReadHeaderTimeout: 10 * time.Second}}
	a.work.Go(func() error { return c.serve(listener) })
	// A keyring may ask its user, and cannot be told to leave that: it is not
	// waited for. What it finds too late is dropped.
	go l.ask(ctx)
	select {
	case a.identity = <-l.got:
		a.log.Info("unlocked")
	case <-ctx.Done():
		err = ErrStopped
	}
	c.close()
	if werr := a.work.Wait(); err == nil {
		err = werr
	}
	return err
}

// locked is an agent that has no passphrase yet.
type locked struct {
	a    *Agent
	stop context.CancelFunc
	got  chan string // the identity, once

	mu  sync.Mutex // guards all below
	why []string   // nothing of what was asked has it; empty until all were asked
}

// try opens the identity with a passphrase.
func (l *locked) try(passphrase string) error {
	identity, err := unwrapIdentity(l.a.o.Dirs, passphrase)
	if err != nil {
		return err
	}
	select {
	case l.got <- identity:
	default: // somebody else was faster
	}
	return nil
}

// ask asks every Secret, and again those that were not there yet.
func (l *locked) ask(ctx context.Context) {
	tick := time.NewTicker(askAgain)
	defer tick.Stop()
	for rest := l.a.o.Secrets; ; {
		var later []Secret
		var why []string
		for _, s := range rest {
			passphrase, err := s.Get(ctx)
			if err == nil {
				err = l.try(passphrase)
			}
			switch {
			case err == nil:
				l.a.log.Info("the passphrase was found", "in", s.Name)
				return
			case errors.Is(err, ErrNoSecret):
				continue
			case errors.Is(err, ErrNotYet):
				later = append(later, s)
			}
			why = append(why, fmt.Sprintf("%s: %v", s.Name, err))
			l.a.log.Warn("no passphrase", "from", s.Name, "err", err)
		}
		if len(why) == 0 {
			why = []string{"no passphrase was found"}
		}
		l.mu.Lock()
		l.why = why
		l.mu.Unlock()
		rest = later
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// mux is the control socket of a locked agent.
func (l *locked) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", answer(func(context.Context, *http.Request) (any, error) { return l.status() }))
	mux.Handle("POST /v1/unlock", long(func(_ context.Context, r unlockRequest, _ func(Progress)) (any, error) {
		return nil, l.try(r.Passphrase)
	}))
	mux.Handle("POST /v1/stop", answer(func(context.Context, *http.Request) (any, error) {
		l.stop()
		return nil, nil
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { send(json.NewEncoder(w), nil, ErrLocked) })
	return mux
}

func (l *locked) status() (Status, error) {
	r, err := readRepository(l.a.o.Dirs)
	if err != nil {
		return Status{}, err
	}
	folders, err := readFolders(l.a.o.Dirs)
	if err != nil {
		return Status{}, err
	}
	l.mu.Lock()
	why := strings.Join(l.why, "; ")
	l.mu.Unlock()
	st := Status{
		PID: os.Getpid(), Version: l.a.o.Version, Repository: r.ID, URL: r.URL, Since: l.a.since,
		Locked: true, Error: why, Folders: []FolderStatus{},
	}
	for _, f := range folders {
		st.Folders = append(st.Folders, FolderStatus{
			FolderInfo: FolderInfo{ID: f.ID, Name: f.Name, Kind: f.Kind, Path: f.Path, NoMount: f.NoMount, VersionsName: f.VersionsName},
			State:      StateLocked,
		})
	}
	return st, nil
}

// unlockRequest gives the passphrase.
type unlockRequest struct {
	Passphrase string `json:"passphrase"`
}
