package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// env is all that a command takes from outside, so that commands run in a test
// as they run in a shell.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	loc            *time.Location
	exe            string // this program, to start the background process with

	quiet   bool
	verbose int
	json    bool
}

// run runs one command line and returns the exit code.
func run(ctx context.Context, args []string, e *env) int {
	root := newRootCommand(e)
	root.SetArgs(args)
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	err := root.ExecuteContext(ctx)
	return e.report(ctx, err)
}

// say prints a line for the user unless --quiet.
func (e *env) say(format string, args ...any) {
	if !e.quiet && !e.json {
		fmt.Fprintf(e.stdout, format+"\n", args...)
	}
}

// detail prints a line only with -v.
func (e *env) detail(format string, args ...any) {
	if e.verbose > 0 {
		fmt.Fprintf(e.stderr, format+"\n", args...)
	}
}

// note prints a line on stderr that is no error but that the user must see.
func (e *env) note(format string, args ...any) {
	if e.json {
		e.jsonLine(e.stderr, message{"message_type": "note", "message": fmt.Sprintf(format, args...)})
		return
	}
	fmt.Fprintf(e.stderr, "syncfs: "+format+"\n", args...)
}

// logger is what code below logs to: stderr with -v, else nothing.
func (e *env) logger() *slog.Logger {
	if e.verbose == 0 {
		return slog.New(slog.DiscardHandler)
	}
	level := slog.LevelInfo
	if e.verbose > 1 {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: level}))
}

// terminal returns w's descriptor when it is a terminal.
func terminal(w any) (fd int, ok bool) {
	f, ok := w.(*os.File)
	if !ok {
		return -1, false
	}
	fd = int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// colour tells whether output may be coloured.
func (e *env) colour() bool {
	_, tty := terminal(e.stdout)
	return tty && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

// abs makes a user's path absolute without looking at the disk.
func abs(path string) (string, error) {
	p, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// runner is the body of a command: the options are in its closure.
type runner func(ctx context.Context, args []string) error

// runE makes a runner what cobra wants.
func runE(r runner) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return r(cmd.Context(), args) }
}
