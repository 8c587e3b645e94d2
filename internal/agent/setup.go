package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
)

// SetupOptions connect this machine (this HOME) with a repository.
type SetupOptions struct {
	Dirs       config.Dirs
	URL        string // http://…, https://…, or the path of a directory (embedded)
	Key        string // the server's access key
	Pin        string // fingerprint of the server's certificate; "": the system's authorities
	Passphrase string
	Label      string    // names this machine's key; "": the host's name
	Random     io.Reader // nil: crypto/rand
	Logger     *slog.Logger
}

// Setup tells what was set up.
type Setup struct {
	Repository string `json:"repository"` // its id
	URL        string `json:"url"`
	Pin        string `json:"pin,omitempty"`
	Device     string `json:"device"` // this machine's random id
	Label      string `json:"label"`
}

// InitRepository makes a repository on an empty remote and connects this
// machine with it. ErrConnected when this HOME has one, store.ErrExists when
// the remote has one.
func InitRepository(ctx context.Context, o SetupOptions) (Setup, error) {
	return setUp(ctx, o, func(remote blob.Store) (*seal.Keys, error) {
		return store.Init(ctx, remote, o.Passphrase, o.Label, o.Random)
	})
}

// ConnectRepository connects this machine with a repository that is there.
// ErrConnected; store.ErrNoRepository; seal.ErrAuth for a wrong passphrase.
func ConnectRepository(ctx context.Context, o SetupOptions) (Setup, error) {
	return setUp(ctx, o, func(remote blob.Store) (*seal.Keys, error) {
		return store.Unlock(ctx, remote, o.Passphrase)
	})
}

func setUp(ctx context.Context, o SetupOptions, open func(blob.Store) (*seal.Keys, error)) (Setup, error) {
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Label == "" {
		o.Label = hostName()
	}
	if r, err := readRepository(o.Dirs); err == nil {
		return r.setup(), fmt.Errorf("%w: %s (repository %.8s)", ErrConnected, r.URL, r.ID)
	} else if !errors.Is(err, ErrNotConnected) {
		return Setup{}, err
	}
	if !isURL(o.URL) {
		dir, err := ownPath(o.URL)
		if err != nil {
			return Setup{}, err
		}
		o.URL = dir
	}
	remote, done, err := openRemote(o.URL, o.Key, o.Pin, o.Logger)
	if err != nil {
		return Setup{}, err
	}
	defer done()
	keys, err := open(remote)
	if err != nil {
		return Setup{}, err
	}
	r := repository{Format: fileFormat, URL: o.URL, Key: o.Key, Pin: o.Pin, ID: keys.RepositoryID(), Label: o.Label}
	var device [16]byte
	if _, err := io.ReadFull(o.Random, device[:]); err != nil {
		return Setup{}, err
	}
	r.Device = hex.EncodeToString(device[:])
	if err := enroll(ctx, o.Dirs, remote, keys, o.Label); err != nil {
		return Setup{}, fmt.Errorf("make this machine's key: %w", err)
	}
	// Last: with this file the machine counts as connected.
	if err := writeJSON(repositoryFile(o.Dirs), r); err != nil {
		return Setup{}, err
	}
	return r.setup(), nil
}

// enroll makes a key for this machine on the remote, and keeps what unlocks it
// here as well: the agent starts without the remote.
func enroll(ctx context.Context, d config.Dirs, remote blob.Store, keys *seal.Keys, label string) error {
	identity, info, err := store.NewDevice(ctx, remote, keys, label)
	if err != nil {
		return err
	}
	if err := atomicfile.MkdirAll(d.State, 0o700); err != nil {
		return err
	}
	// A keyring of an attempt that was cut is of no use any more.
	if err := os.RemoveAll(keyringDir(d)); err != nil {
		return err
	}
	ring, err := blob.OpenDir(keyringDir(d), blob.DirOptions{})
	if err != nil {
		return err
	}
	defer ring.Close()
	if err := copyBlob(ctx, ring, remote, "config"); err != nil {
		return err
	}
	err = remote.List(ctx, "keys/", "", func(i blob.Info) error {
		if !strings.Contains(i.Name, info.ID) {
			return nil
		}
		return copyBlob(ctx, ring, remote, i.Name)
	})
	if err != nil {
		return err
	}
	if _, err := store.UnlockDevice(ctx, ring, identity); err != nil {
		return err
	}
	return atomicfile.WriteFile(identityFile(d), []byte(identity+"\n"), 0o600)
}

func copyBlob(ctx context.Context, to, from blob.Store, name string) error {
	r, err := from.Get(ctx, name, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return err
	}
	return to.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
}

// Connected tells what this machine is connected to; ErrNotConnected.
func Connected(dirs config.Dirs) (Setup, error) {
	r, err := readRepository(dirs)
	return r.setup(), err
}

// Disconnect forgets the repository on this machine: folders stay where they
// are as plain directories, their registration and all state go. It refuses
// while an agent runs (ErrRunning) and while something is not on the remote yet
// (ErrBusy) unless force.
func Disconnect(ctx context.Context, dirs config.Dirs, force bool) error {
	if _, err := readRepository(dirs); err != nil {
		return err
	}
	lock, err := takeLock(lockFile(dirs))
	if err != nil {
		return err
	}
	defer lock.Close()
	folders, err := readFolders(dirs)
	if err != nil && !force {
		return err
	}
	for _, f := range folders {
		names, err := os.ReadDir(queueDir(dirs, f.ID))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !force {
			return err
		}
		if len(names) > 0 && !force {
			return fmt.Errorf("%w: %d snapshots of %s are not on the remote yet", ErrBusy, len(names), f.Name)
		}
	}
	// First: without this file the machine counts as not connected.
	if err := atomicfile.Remove(repositoryFile(dirs)); err != nil {
		return err
	}
	var errs []error
	for _, path := range []string{
		foldersFile(dirs), schedulesFile(dirs), BackupDir(dirs), OperationsDir(dirs), identityFile(dirs), protectedFile(dirs), keyringDir(dirs), databaseDir(dirs),
		folderDir(dirs, ""), spoolDir(dirs), queueDir(dirs, ""), chunkCacheDir(dirs),
	} {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}

// Repository is an open connection, for commands that work on the remote
// itself (keys).
type Repository struct {
	Setup  Setup
	Remote blob.Store
	Keys   *seal.Keys

	remote *reach // Remote
}

// OpenRepository opens the remote and unlocks the keys with this machine's
// identity. It asks the remote for nothing, so it works offline.
// ErrLocked where a passphrase protects that and no agent has it.
func OpenRepository(ctx context.Context, dirs config.Dirs, log *slog.Logger) (*Repository, error) {
	if _, err := readRepository(dirs); err != nil {
		return nil, err
	}
	identity, err := readIdentity(dirs)
	if errors.Is(err, ErrLocked) {
		identity, err = askIdentity(ctx, dirs)
	}
	if err != nil {
		return nil, err
	}
	return openRepository(ctx, dirs, identity, log)
}

// openRepository is OpenRepository with the identity of this machine.
func openRepository(ctx context.Context, dirs config.Dirs, identity string, log *slog.Logger) (*Repository, error) {
	r, err := readRepository(dirs)
	if err != nil {
		return nil, err
	}
	keys, err := openKeys(ctx, dirs, identity)
	if err != nil {
		return nil, err
	}
	if keys.RepositoryID() != r.ID {
		return nil, fmt.Errorf("the keys in %s are of repository %.8s, not %.8s", keyringDir(dirs), keys.RepositoryID(), r.ID)
	}
	remote, err := newReach(r, log)
	if err != nil {
		return nil, err
	}
	return &Repository{Setup: r.setup(), Remote: remote, Keys: keys, remote: remote}, nil
}

// SetLimits bounds what this process sends and fetches.
func (r *Repository) SetLimits(l Limits) { r.remote.limit(l) }

// Close ends the connection.
func (r *Repository) Close() error {
	r.remote.close()
	return nil
}

func openKeys(ctx context.Context, dirs config.Dirs, identity string) (*seal.Keys, error) {
	ring, err := blob.OpenDir(keyringDir(dirs), blob.DirOptions{})
	if err != nil {
		return nil, fmt.Errorf("this machine's key: %w", err)
	}
	defer ring.Close()
	keys, err := store.UnlockDevice(ctx, ring, identity)
	if err != nil {
		return nil, fmt.Errorf("this machine's key: %w", err)
	}
	return keys, nil
}
