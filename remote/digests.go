package remote

import (
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

const digestsMost = 4096

// digests remembers the digests of objects that came or went whole. An object
// that was replaced behind the server's back has another time, and one that
// went bad on the disk shows at the client.
type digests struct {
	mu  sync.Mutex // guards all
	all map[string]knownDigest
}

type knownDigest struct {
	size     int64
	modified time.Time
	sum      digest
}

func newDigests() *digests { return &digests{all: map[string]knownDigest{}} }

func (d *digests) get(info blob.Info) (digest, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, ok := d.all[info.Name]
	return known.sum, ok && known.size == info.Size && known.modified.Equal(info.Modified)
}

func (d *digests) set(info blob.Info, sum digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) >= digestsMost {
		for name := range d.all {
			delete(d.all, name)
			break
		}
	}
	d.all[info.Name] = knownDigest{size: info.Size, modified: info.Modified, sum: sum}
}
