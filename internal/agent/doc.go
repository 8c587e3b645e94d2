// Package agent wires everything: it owns the repository's connection, the
// folders of this machine and their lifecycles, and the control socket that
// the command speaks to. The same package reads the past without an agent
// (OpenReader) and sets a machine up (InitRepository, ConnectRepository).
//
// The agent never waits for its own mounts: it opens a folder's directory once,
// before it mounts over it, and reaches it by that descriptor alone.
package agent
