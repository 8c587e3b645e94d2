package agent

import (
	"context"
	"log/slog"

	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/versions"
)

// ReadOnlyOptions mount the past (or the newest state) of any folder anywhere.
type ReadOnlyOptions struct {
	Dirs       config.Dirs
	Folder     string         // name
	Dir        string         // an empty directory
	At         *versions.When // nil: the folder's newest state at its root, with .versions
	AllowOther bool
	Limits     Limits
	Ready      func() // called when the mount stands
	Logger     *slog.Logger
}

// MountReadOnly serves a read-only mount until ctx ends or it is unmounted.
func MountReadOnly(ctx context.Context, o ReadOnlyOptions) error { return mountReadOnly(ctx, o) }
