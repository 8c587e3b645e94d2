//go:build race

package syncer_test

// defaultSequences: the detector looks at interleavings, which every sequence
// has thousands of, and makes each several times as slow.
const defaultSequences = 60
