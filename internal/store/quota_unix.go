//go:build unix

package store

import (
	"errors"

	"golang.org/x/sys/unix"
)

func isQuota(err error) bool { return errors.Is(err, unix.EDQUOT) }
