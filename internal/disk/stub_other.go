//go:build !linux

package disk

import (
	"errors"

	"github.com/syncfs/syncfs/versions"
)

// Stub tells that nothing is left out on this system.
func (d *Dir) Stub() (Stub, bool, error) { return Stub{}, false, nil }

// Stub tells that nothing is left out on this system.
func (f *File) Stub() (Stub, bool, error) { return Stub{}, false, nil }

// SetStub is not possible on this system.
func (f *File) SetStub(Stub) error { return errors.ErrUnsupported }

// SetStub is not possible on this system.
func (d *Dir) SetStub(Stub) error { return errors.ErrUnsupported }

// CreateStub is not possible on this system.
func (d *Dir) CreateStub(string, versions.Entry, CreateOptions) (Stat, []Note, error) {
	return Stat{}, nil, errors.ErrUnsupported
}
