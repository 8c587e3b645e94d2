// Package sequence is random work of machines that sync one folder: what is done
// to them, a ledger outside of them that says what must be found afterwards, and
// how a sequence that failed is made short. Who the machines are is the caller's:
// engines in one process (internal/syncer), or real agents (tests/machines).
package sequence
