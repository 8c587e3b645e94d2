package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what this program was built from.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version is set by the linker for packages and releases; "": as Go saw the
// source.
var version string

func buildInfo() build {
	b := build{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	b.Version = version
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "devel"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		}
	}
	return b
}

func newVersionCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which syncfs this is",
		Example: `  syncfs version --json`,
		Args:    exactArgs(),
		RunE: runE(func(context.Context, []string) error {
			b := buildInfo()
			if e.json {
				return e.document(b)
			}
			_, err := fmt.Fprintf(e.stdout, "syncfs %s (%s, %s)\n", b.Version, b.Go, b.Platform)
			return err
		}),
	}
	e.addJSON(cmd)
	return cmd
}
