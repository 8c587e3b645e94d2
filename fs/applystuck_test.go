//go:build linux

package fs_test

import (
	"errors"
	"testing"
	"time"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/disk"
	"golang.org/x/sys/unix"
)

// unmounted fails when Unmount does not end.
func (m *mounted) unmounted(t *testing.T) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- m.Unmount() }()
	select {
	case err := <-done:
		var held *fs.HeldError
		if err != nil && !errors.As(err, &held) {
			t.Errorf("unmount: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Unmount hangs")
	}
}

func TestAStoppedChildDoesNotHoldUnmount(t *testing.T) {
	m, _ := mountApplied(t)
	m.SetApplierGrace(100 * time.Millisecond)
	m.staged(t, "1", "content")
	must(t, m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "a", Staged: "1"}))
	must(t, unix.Kill(m.ApplierPID(), unix.SIGSTOP))
	m.staged(t, "2", "content")
	step := make(chan error, 1)
	go func() { step <- m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "b", Staged: "2"}) }()
	time.Sleep(50 * time.Millisecond) // it waits for the child's answer
	m.unmounted(t)
	select {
	case err := <-step:
		if !errors.Is(err, fs.ErrApplierGone) && !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("the step: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the step hangs")
	}
}

// A child that waits for an answer of ours cannot be killed.
func TestAStuckRequestDoesNotHoldUnmount(t *testing.T) {
	m, g := mountApplied(t)
	m.SetApplierGrace(200 * time.Millisecond)
	stuck, over := make(chan struct{}), make(chan struct{})
	g.do(func(string) { close(stuck); <-over })
	m.staged(t, "1", "content")
	step := make(chan error, 1)
	go func() { step <- m.Do(t.Context(), disk.Step{Op: disk.Place, Path: "a", Staged: "1"}) }()
	<-stuck
	m.unmounted(t)
	close(over)
	select {
	case err := <-step:
		if !errors.Is(err, fs.ErrApplierGone) {
			t.Errorf("the step: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the step hangs")
	}
}
