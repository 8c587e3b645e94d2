package syncer

import (
	"time"

	"github.com/syncfs/syncfs/internal/disk"
)

// quickly is how long making or removing a name of ours may take for its effect
// on the root's time to be taken back.
const quickly = 2 * time.Second

// KeepTime runs what makes or removes our own names in a folder's root, and
// gives the root its time back: our names are no change of the user's.
func KeepTime(root *disk.Root, run func()) {
	d, err := root.OpenDir("")
	if err != nil {
		run()
		return
	}
	defer d.Close()
	before, err := d.Self()
	begun := time.Now()
	run()
	if err != nil || time.Since(begun) > quickly {
		return // what happened meanwhile may have been somebody else
	}
	if after, err := d.Self(); err == nil && after.MTime != before.MTime {
		// When this fails, the next snapshot says that the root's time changed.
		_, _, _ = d.SetSelfMeta(disk.Meta{Mode: before.Mode & 0o7777, MTime: before.MTime})
	}
}
