package store

// Resend takes nothing that waits for a head to be on the remote any more: what
// lies in the spool is sent again, and what was sent and freed counts as gone
// unless the index on the remote names it. It is for a remote that was restored
// from an old copy.
func (s *Store) Resend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.small = nil
	for i := range s.index.packs {
		p := &s.index.packs[i]
		if !p.pending || p.open != nil {
			continue
		}
		p.uploaded, p.indexed = len(p.deltas) > 0, len(p.deltas) > 0
		p.pending = p.spooled
	}
	s.index.sweep()
}
