//go:build linux

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// compare tells what differs between the two folders below rel: names, kinds,
// sizes and targets of links. Names of the tools' own are left out.
func (t *turn) compare(rel string) error {
	a, err := list(filepath.Join(t.a, rel), t.links)
	if err != nil {
		return err
	}
	b, err := list(filepath.Join(t.b, rel), t.links)
	if err != nil {
		return err
	}
	for name, want := range a {
		if got, ok := b[name]; !ok || got != want {
			return fmt.Errorf("%s is %q on A and %q on B", filepath.Join(rel, name), want, got)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			return fmt.Errorf("%s is on B alone", filepath.Join(rel, name))
		}
	}
	return nil
}

// list says in a word what stands under each name below dir. Empty directories
// are no difference, since some tools do not keep them.
func list(dir string, links bool) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (d.Name() == ".versions" || strings.HasPrefix(d.Name(), ".st")):
			return filepath.SkipDir
		case d.Type()&fs.ModeSymlink != 0 && links:
			var target string
			target, err = os.Readlink(path)
			all[rel] = filepath.Clean(target) // as rsync's daemon does
		case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".syncfs"):
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				all[rel] = fmt.Sprintf("%d bytes", info.Size())
			}
		}
		return err
	})
	return all, err
}
