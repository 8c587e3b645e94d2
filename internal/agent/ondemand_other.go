//go:build !linux

package agent

import (
	"context"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// openDemand: there are no on-demand folders where nothing is mounted.
func (h *host) openDemand(*disk.Root, *folder.Folder, *disk.Owners, *lateMount,
	func(context.Context, string, versions.Entry) (bool, error)) (syncer.Stubs, error) {
	if h.onDemand() {
		return nil, errNoMounts()
	}
	return nil, nil
}

func tryStubs(string) error { return errNoMounts() }

func (h *host) unfoldRoot(context.Context, *disk.Root) error { return errNoMounts() }
