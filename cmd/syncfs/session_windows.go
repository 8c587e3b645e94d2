package main

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// beginSession: what mounts is not built here.
func beginSession() error { return nil }

// ownSession keeps a background process when the console goes.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
