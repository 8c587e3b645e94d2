package containerbackup

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lukechampine.com/blake3"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// memory keeps chunks.
type memory struct {
	mu  sync.Mutex
	of  map[chunk.ID][]byte
	new int // chunks that were not there before
}

func (m *memory) Get(_ context.Context, _ chunk.Kind, id chunk.ID) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.of[id]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return append([]byte(nil), data...), nil
}

func (m *memory) Put(_ context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := chunk.ID(blake3.Sum256(append([]byte{byte(kind)}, data...)))
	if m.of[id] == nil {
		m.of[id] = append([]byte{}, data...)
		m.new++
	}
	return id, nil
}

// stores are means to store trees and contents in memory.
func stores() (*memory, *versions.Trees, *versions.Contents) {
	m := &memory{of: map[chunk.ID][]byte{}}
	return m, versions.NewTrees(m, [32]byte{1}), versions.NewContents(m, [32]byte{2})
}

func newBackup() *backup {
	_, trees, contents := stores()
	return &backup{
		o:    BackupOptions{Trees: trees, Contents: contents, Now: time.Now, Note: func(string, ...any) {}},
		tree: newTree(trees, contents, time.Unix(1e9, 0), 0, 0), info: &Info{Format: infoFormat}, blobs: map[string]int64{},
		project: &project{images: map[string]*picture{}},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files makes files of these names whose content is the name.
func files(t *testing.T, dir string, names []string) []string {
	t.Helper()
	for _, name := range names {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	return names
}
