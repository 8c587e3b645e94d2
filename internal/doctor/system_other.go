//go:build !linux

package doctor

import "runtime"

// System tells that nothing is mounted here.
func System(Options) []Check {
	return []Check{{Name: "fuse", Level: Note, Text: "mounting works on Linux only, not on " + runtime.GOOS, Do: "add folders with --no-mount"}}
}
