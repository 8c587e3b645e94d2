//go:build !linux

package main

// stateBelow: there are no on-demand folders where nothing is mounted.
func stateBelow(seen, string) string { return "" }
