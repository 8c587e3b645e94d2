//go:build linux

package fs

// newPast is the history tree of a live one.
func newPast(o LiveOptions) past { panic("skeleton") }
