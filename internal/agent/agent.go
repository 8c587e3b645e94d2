package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/syncfs/syncfs/internal/config"
)

// Options of the agent.
type Options struct {
	Dirs config.Dirs
	Exe  []string // command line of the applier child, such as [/usr/bin/syncfs, applier]
	Only []string // names of the folders to serve; nil: all

	NoPassthrough bool          // serve every read and write ourselves
	AllowOther    bool          // let other users into the mounts (where permitted)
	SpoolLimit    int64         // bytes; 0: only the disk's
	CacheLimit    int64         // bytes; 0: the store's default
	Settle        time.Duration // how long a file rests before it is captured; 0: one second

	Version string       // told in Status
	Ready   func(Status) // called once, when every folder is being served; may be nil
	Logger  *slog.Logger // nil: discard
	Now     func() time.Time
	Host    string // nil values: the host's and the user's name
	User    string
}

// Run is the agent: it serves until ctx ends or a client says Stop, then
// unmounts, sends what is quickly sent, and returns. ErrRunning with the pid of
// the one that runs; ErrNotConnected. It works without the remote.
func Run(ctx context.Context, o Options) error { panic("skeleton") }
