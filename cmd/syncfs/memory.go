package main

import "runtime/debug"

// memoryLimit is what work on large trees may use before the collector tries
// harder; what the kernel maps and caches comes on top.
const memoryLimit = 110 << 20

// boundMemory keeps a long command small, unless the user has said how.
func (e *env) boundMemory() {
	if e.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
