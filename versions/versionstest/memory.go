// Package versionstest keeps chunks in memory, for tests of what reads and
// writes trees and contents.
package versionstest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"sync"

	"github.com/syncfs/syncfs/internal/chunk"
	"lukechampine.com/blake3"
)

// Memory is versions.Chunks and versions.Prefetcher in memory. It is safe for
// use by many goroutines.
type Memory struct {
	mu         sync.Mutex // guards what follows
	chunks     map[key][]byte
	gets, puts map[chunk.Kind]int
	fresh      map[chunk.Kind]int
	prefetched int
	fail       func(op string, kind chunk.Kind, id chunk.ID) error
}

type key struct {
	kind chunk.Kind
	id   chunk.ID
}

// New is empty.
func New() *Memory {
	m := &Memory{chunks: map[key][]byte{}}
	m.Reset()
	return m
}

// Reset sets all counts to zero.
func (m *Memory) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets, m.puts, m.fresh, m.prefetched = map[chunk.Kind]int{}, map[chunk.Kind]int{}, map[chunk.Kind]int{}, 0
}

// Gets is how many chunks of a kind were read since Reset; Puts how many were
// put; New how many of those were not there before; Prefetched how many of any
// kind were asked for ahead.
func (m *Memory) Gets(kind chunk.Kind) int { return m.count(m.gets, kind) }

// Puts: see Gets.
func (m *Memory) Puts(kind chunk.Kind) int { return m.count(m.puts, kind) }

// New: see Gets.
func (m *Memory) New(kind chunk.Kind) int { return m.count(m.fresh, kind) }

// Prefetched: see Gets.
func (m *Memory) Prefetched() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.prefetched
}

func (m *Memory) count(of map[chunk.Kind]int, kind chunk.Kind) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return of[kind]
}

// Fail lets fn decide on an error before every "get" and "put" (with the zero
// ID); nil ends it. fn may be called by many goroutines.
func (m *Memory) Fail(fn func(op string, kind chunk.Kind, id chunk.ID) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = fn
}

func (m *Memory) failure(op string, kind chunk.Kind, id chunk.ID) error {
	m.mu.Lock()
	fail := m.fail
	m.mu.Unlock()
	if fail == nil {
		return nil
	}
	return fail(op, kind, id)
}

// Get returns a copy of a chunk; io/fs.ErrNotExist.
func (m *Memory) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := m.failure("get", kind, id); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets[kind]++
	data, ok := m.chunks[key{kind, id}]
	if !ok {
		return nil, fmt.Errorf("%v chunk %s: %w", kind, id.Short(), fs.ErrNotExist)
	}
	return bytes.Clone(data), nil
}

// Put keeps a copy of data.
func (m *Memory) Put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	if err := ctx.Err(); err != nil {
		return chunk.ID{}, err
	}
	if err := m.failure("put", kind, chunk.ID{}); err != nil {
		return chunk.ID{}, err
	}
	h := blake3.New(32, make([]byte, 32))
	h.Write([]byte{byte(kind)})
	h.Write(data)
	id := chunk.ID(h.Sum(nil))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts[kind]++
	if _, ok := m.chunks[key{kind, id}]; !ok {
		m.chunks[key{kind, id}] = bytes.Clone(data)
		m.fresh[kind]++
	}
	return id, nil
}

// Prefetch counts.
func (m *Memory) Prefetch(_ context.Context, _ chunk.Kind, ids []chunk.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prefetched += len(ids)
}

// Delete removes a chunk; Replace puts other bytes in its place: faults.
func (m *Memory) Delete(kind chunk.Kind, id chunk.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.chunks, key{kind, id})
}

// Replace: see Delete.
func (m *Memory) Replace(kind chunk.Kind, id chunk.ID, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chunks[key{kind, id}] = bytes.Clone(data)
}

// Chunk is the content of a chunk, nil when it is not there; not counted.
func (m *Memory) Chunk(kind chunk.Kind, id chunk.ID) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.chunks[key{kind, id}])
}
