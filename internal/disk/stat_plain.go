//go:build !linux && !darwin

package disk

import "os"

// addSystem adds nothing: size and time of change are what there is.
func addSystem(*Stat, os.FileInfo) {}
