package agent

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/internal/upkeep"
)

// CopyTo brings everything of the repository to another remote.
func (r *Repository) CopyTo(ctx context.Context, o SetupOptions, progress func(objects, bytes int64)) (upkeep.CopyResult, error) {
	if !isURL(o.URL) {
		dir, err := ownPath(o.URL)
		if err != nil {
			return upkeep.CopyResult{}, err
		}
		o.URL = dir
	}
	if o.URL == r.Setup.URL {
		return upkeep.CopyResult{}, fmt.Errorf("%s is where the repository is", o.URL)
	}
	to, done, err := openRemote(o.URL, o.Key, o.Pin, o.Logger)
	if err != nil {
		return upkeep.CopyResult{}, err
	}
	defer done()
	return upkeep.Copy(ctx, r.Remote, to, progress)
}
