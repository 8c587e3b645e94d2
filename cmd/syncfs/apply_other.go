//go:build !linux

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

// newApplyCommand has nothing to do where nothing is mounted.
func newApplyCommand(*env) *cobra.Command {
	return &cobra.Command{
		Use:    applyCommand,
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   runE(func(context.Context, []string) error { return errors.ErrUnsupported }),
	}
}
