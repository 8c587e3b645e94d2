package folder

import "github.com/syncfs/syncfs/internal/disk"

// A build that would take very long ends early: what is new and was not read yet
// is left for the next one, as if it had just been written. That is safe where
// the records tell all that the last snapshot has: what is left is in neither.

// mayRest tells whether a new name in t may be left for later. Where the record
// of a directory was lost, nothing in it is known to be new, nor in a directory
// below it that has none either.
func (t *task) mayRest() bool {
	return t.record != nil || t.old == nil && t.origin == nil && (t.parent == nil || t.parent.mayRest())
}

// rests tells whether j is left for later: new content, when there is enough.
func (b *build) rests(j *job) bool {
	if b.relist || b.o.Enough == nil && !b.partial.Load() || j.old != nil || j.origin != nil || j.typ != disk.TypeFile || !j.task.mayRest() {
		return false
	}
	if !b.partial.Load() && b.o.Enough() {
		b.partial.Store(true)
	}
	return b.partial.Load()
}
