package versions

import "sync/atomic"

// openDir is a directory with things in it that are not done. The walk itself
// counts as one until it has left it; each directory in it counts as one until
// it is done.
type openDir struct {
	path   string
	entry  Entry
	parent *openDir
	count  atomic.Int64
}

func newOpenDir(path string, e Entry, parent *openDir) *openDir {
	parent.enter()
	d := &openDir{path: path, entry: e, parent: parent}
	d.count.Store(1)
	return d
}

func (d *openDir) enter() {
	if d != nil {
		d.count.Add(1)
	}
}

// left counts down and returns what is not done yet.
func (d *openDir) left() int64 { return d.count.Add(-1) }
