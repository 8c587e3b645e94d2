//go:build !race

package syncer_test

const defaultSequences = 300
