//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

func (e *env) helpAs(context.Context, helperSettings, string, string) error {
	return fmt.Errorf("mounting works on Linux only, not on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func automounted(string) bool { return false }
