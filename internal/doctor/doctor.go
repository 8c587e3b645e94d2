// Package doctor looks at what a machine has that syncfs needs, and can put some
// of it right. It looks, and says what to do; it knows no repository.
package doctor

import "context"

// Level is how much a finding matters.
type Level string

// The levels, from good to bad.
const (
	OK      Level = "ok"
	Note    Level = "note"    // works, and could be better
	Warning Level = "warning" // will do harm
	Problem Level = "problem" // does not work
)

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Do    string `json:"do,omitempty"` // what the user can do about it
	// Fix puts it right; nil: nobody but the user can.
	Fix   func(context.Context) error `json:"-"`
	Fixed bool                        `json:"fixed,omitempty"`
}

// Options of the look at a machine.
type Options struct {
	Root    string // before the paths of the system; "" outside tests
	UID     int
	Path    string   // where programs are looked for
	Folders []string // directories of the folders
	State   []string // directories that must have room
}
