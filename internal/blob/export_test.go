package blob

// SyncWith makes d sync directories by fn.
func SyncWith(d *Dir, fn func(dir string) error) { d.syncDir = fn }
