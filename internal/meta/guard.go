package meta

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
)

// guard runs one use of Badger. Badger panics on some damage, and what it
// mapped faults when a file was cut short below it; both become errors. Only
// Badger's own work belongs into fn: a panic of a caller's function must pass.
func guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			text, _, _ := strings.Cut(strings.TrimSpace(fmt.Sprint(p)), "\n")
			err = fmt.Errorf("panic: %s", text)
		}
	}()
	return fn()
}

// broken says that what could not be read is the database's fault.
func broken(dir string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %w", ErrBroken, dir, err)
}

// quiet passes on what Badger has to complain about and drops its chatter.
type quiet struct{ log *slog.Logger }

func (q quiet) Errorf(format string, args ...any)   { q.say(slog.LevelError, format, args) }
func (q quiet) Warningf(format string, args ...any) { q.say(slog.LevelWarn, format, args) }
func (q quiet) Infof(string, ...any)                {}
func (q quiet) Debugf(string, ...any)               {}

func (q quiet) say(level slog.Level, format string, args []any) {
	q.log.Log(context.Background(), level, "local database", "badger", strings.TrimSpace(fmt.Sprintf(format, args...)))
}
