//go:build unix

package main

import "syscall"

// ownSession keeps a background process when the terminal goes.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
