package agent

import (
	"context"
	"io"
	"log/slog"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/seal"
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
func InitRepository(ctx context.Context, o SetupOptions) (Setup, error) { panic("skeleton") }

// ConnectRepository connects this machine with a repository that is there.
// ErrConnected; store.ErrNoRepository; seal.ErrAuth for a wrong passphrase.
func ConnectRepository(ctx context.Context, o SetupOptions) (Setup, error) { panic("skeleton") }

// Connected tells what this machine is connected to; ErrNotConnected.
func Connected(dirs config.Dirs) (Setup, error) { panic("skeleton") }

// Disconnect forgets the repository on this machine: folders stay where they
// are as plain directories, their registration and all state go. It refuses
// while an agent runs (ErrRunning) and while something is not on the remote yet
// (ErrBusy) unless force.
func Disconnect(ctx context.Context, dirs config.Dirs, force bool) error { panic("skeleton") }

// Repository is an open connection, for commands that work on the remote
// itself (keys).
type Repository struct {
	Setup  Setup
	Remote blob.Store
	Keys   *seal.Keys
}

// OpenRepository opens the remote and unlocks the keys with this machine's
// identity. It asks the remote for nothing, so it works offline.
func OpenRepository(ctx context.Context, dirs config.Dirs, log *slog.Logger) (*Repository, error) {
	panic("skeleton")
}
