//go:build linux

package fs

import (
	"cmp"
	"slices"
	"time"
)

// The kernel keeps what it has looked up until it lacks memory, and we a record
// of every directory that it keeps. A walk over all of .versions would so cost
// us some hundred bytes for each directory of each instant, for ever: from a
// bound on the kernel is asked to forget the oldest.

const (
	// pruneBatch ids go into one message.
	pruneBatch = 4096
	// prunePause is what the kernel takes to forget, and pruneLong the pause
	// when it has not: what is in use stays.
	prunePause = 500 * time.Millisecond
	pruneLong  = time.Minute
)

// pruneSoon sees to it that the kernel is asked when there is much. It may be
// called from a request, without locks.
func (h *History) pruneSoon() {
	if h.nodes.tooMany() > 0 && h.kernel.Load() != nil && h.ctx.Err() == nil && !h.pruning.Swap(true) {
		h.work.Go(h.prune)
	}
}

// prune asks until there is little, or never again when the kernel does not know
// the question.
func (h *History) prune() {
	for last := 0; ; {
		many := h.nodes.tooMany()
		kernel := h.kernel.Load()
		if many == 0 || kernel == nil {
			h.pruning.Store(false)
			return
		}
		for batch := range slices.Chunk(h.nodes.oldest(), pruneBatch) {
			if status := kernel.Prune(batch); !status.Ok() {
				h.log.Debug("the kernel does not forget when asked", "status", status)
				return
			}
		}
		pause := prunePause
		if many == last {
			pause = pruneLong
		}
		last = many
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// tooMany is how many nodes there are beyond the bound.
func (t *pastNodes) tooMany() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, len(t.byID)-t.max)
}

// oldest are the ids of all nodes but the newest half of what may be kept; what
// lies below a directory comes before the directory.
func (t *pastNodes) oldest() (ids []uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	nodes := make([]*pastNode, 0, len(t.byID))
	for id, n := range t.byID {
		if id == n.id { // a root is there twice
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b *pastNode) int { return cmp.Compare(b.base, a.base) })
	for _, n := range nodes[min(t.max/2, len(nodes)):] {
		if n.dir != nil && n.dir.placed > 0 {
			for place := uint64(1); place <= n.dir.places; place++ {
				ids = append(ids, n.base|place)
			}
		}
		ids = append(ids, n.id)
	}
	return ids
}
