package agent

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/internal/store"
)

// Reconnect changes how this machine reaches its repository: another address,
// another access key, another certificate. What is there must be the same
// repository: ErrConnected where it is not. ErrRunning while an agent runs.
func Reconnect(ctx context.Context, o SetupOptions) (Setup, error) {
	r, err := readRepository(o.Dirs)
	if err != nil {
		return Setup{}, err
	}
	if !isURL(o.URL) {
		if o.URL, err = ownPath(o.URL); err != nil {
			return Setup{}, err
		}
		if err := isRepository(o.URL); err != nil {
			return Setup{}, err
		}
	}
	remote, done, err := openRemote(o.URL, o.Key, o.Pin, o.Logger)
	if err != nil {
		return Setup{}, err
	}
	defer done()
	id, err := store.RepositoryID(ctx, remote)
	if err != nil {
		return Setup{}, err
	}
	if id != r.ID {
		return Setup{}, fmt.Errorf("%w, which is %.8s at %s; %s holds %.8s", ErrConnected, r.ID, r.URL, o.URL, id)
	}
	lock, err := takeLock(lockFile(o.Dirs))
	if err != nil {
		return Setup{}, err
	}
	defer lock.Close()
	r.URL, r.Key, r.Pin = o.URL, o.Key, o.Pin
	return r.setup(), writeJSON(repositoryFile(o.Dirs), r)
}
