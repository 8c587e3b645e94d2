//go:build linux

package fs_test

import (
	"os"
	"testing"
)

func TestTheOtherNamesOfAFileAreToldOf(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		write(t, m.dir+"/a", "content")
		for _, tt := range []struct {
			name string
			do   func() error
		}{
			{"link", func() error { return os.Link(m.dir+"/a", m.dir+"/b") }},
			{"unlink", func() error { return os.Remove(m.dir + "/b") }},
			{"rename over", func() error {
				if err := os.Link(m.dir+"/a", m.dir+"/c"); err != nil {
					return err
				}
				write(t, m.dir+"/new", "another")
				before := m.log.count("a")
				err := os.Rename(m.dir+"/new", m.dir+"/c")
				if m.log.count("a") == before {
					t.Error("the name that stayed is not told of")
				}
				return err
			}},
		} {
			before := m.log.count("a")
			must(t, tt.do())
			if m.log.count("a") == before {
				t.Errorf("%s: the other name is not told of", tt.name)
			}
		}
	})
}

// A file that is opened again before it was let go of is told of at once: a
// close reaches us only after the program went on.
func TestEveryOpenForWritingIsTold(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		write(t, m.dir+"/a", "content")
		before := m.log.count("a")
		f, err := os.OpenFile(m.dir+"/a", os.O_WRONLY, 0)
		must(t, err)
		defer f.Close()
		if m.log.count("a") == before {
			t.Error("it is not told of")
		}
	})
}
