//go:build !linux

package agent

import (
	"context"
	"errors"
)

// networkChanges: this system is not asked; tries by time find the network.
func networkChanges(context.Context, func()) error { return errors.ErrUnsupported }
