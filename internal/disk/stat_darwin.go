package disk

import (
	"os"
	"syscall"
)

// addSystem adds what only this system tells.
func addSystem(st *Stat, info os.FileInfo) {
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		st.Dev, st.Ino = uint64(sys.Dev), sys.Ino
		st.CTime = sys.Ctimespec.Nano()
		st.Mode = st.Type() | uint32(sys.Mode)&0o7777
		st.UID, st.GID, st.Links, st.Blocks = sys.Uid, sys.Gid, uint32(sys.Nlink), sys.Blocks
	}
}
