package agent

import (
	"path/filepath"

	"github.com/syncfs/syncfs/internal/config"
)

// BackupDir is what the backups of a HOME remember.
func BackupDir(d config.Dirs) string { return filepath.Join(d.State, "backup") }

// OperationsDir is where records of what was done wait for the remote.
func OperationsDir(d config.Dirs) string { return filepath.Join(d.State, "operations") }

// ChunkCacheDir is the cache that all processes of a HOME share.
func ChunkCacheDir(d config.Dirs) string { return chunkCacheDir(d) }

// Identity is what a snapshot says of who took it.
func Identity() (host, user string) { return hostName(), userName() }

// Own are directories that hold what syncfs itself keeps: no backup needs them.
func (r *Repository) Own(d config.Dirs) []string {
	own := []string{d.State, d.Cache, d.Data, d.Runtime}
	if !isURL(r.Setup.URL) {
		own = append(own, r.Setup.URL)
	}
	for i, dir := range own {
		if real, err := ownPath(dir); err == nil {
			own[i] = real
		}
	}
	return own
}
