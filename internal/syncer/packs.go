package syncer

import "sync"

// Packs counts which queued snapshots of all folders need which blobs of the
// spool: the folders of a machine share one spool, and a blob may leave it only
// when no snapshot that needs it still waits.
type Packs struct {
	mu    sync.Mutex // guards needs
	needs map[string]int
}

// add notes that one more snapshot needs these blobs.
func (p *Packs) add(names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.needs == nil {
		p.needs = map[string]int{}
	}
	for _, n := range names {
		p.needs[n]++
	}
}

// drop takes back one add and returns the blobs that nobody needs any more.
func (p *Packs) drop(names []string) (free []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range names {
		if p.needs[n]--; p.needs[n] <= 0 {
			delete(p.needs, n)
			free = append(free, n)
		}
	}
	return free
}
