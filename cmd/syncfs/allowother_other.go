//go:build !linux

package main

// mayAllowOther is about mounts, which are Linux's alone.
func mayAllowOther() bool { return false }
