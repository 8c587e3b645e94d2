//go:build unix

package main

import "syscall"

// beginSession is for a process that was not started in a session of its own.
func beginSession() error {
	_, err := syscall.Setsid()
	return err
}

// ownSession keeps a background process when the terminal goes.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }
