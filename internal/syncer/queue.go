package syncer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// queued is a snapshot that no head has yet.
type queued struct {
	seq      uint64
	id       chunk.ID
	snapshot *versions.Snapshot
	packs    []string // what must be on the remote before a head refers to it
	epoch    uint64   // of the last prune whose marks were known when it was made
}

// queueFile is a queued snapshot as it lies on the disk.
type queueFile struct {
	Format   int      `json:"format"`
	Snapshot []byte   `json:"snapshot"` // versions.Snapshot.Encode
	Packs    []string `json:"packs,omitempty"`
	Epoch    uint64   `json:"epoch,omitempty"`
}

// queue keeps the snapshots of one folder that wait for the remote, oldest
// first, one file each. It is not safe for concurrent use.
type queue struct {
	dir     string
	entries []queued
	next    uint64
}

const queueSuffix = ".json"

// openQueue reads what is queued. An entry that cannot be read is an error that
// names the file: it may be the only record of a state, so it is never skipped.
func openQueue(dir string) (*queue, error) {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := atomicfile.Sweep(dir); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir) // sorted by name, which is the order
	if err != nil {
		return nil, err
	}
	q := &queue{dir: dir, next: 1}
	for _, f := range files {
		seq, err := strconv.ParseUint(strings.TrimSuffix(f.Name(), queueSuffix), 16, 64)
		if err != nil || !strings.HasSuffix(f.Name(), queueSuffix) {
			continue // not ours
		}
		path := filepath.Join(dir, f.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		e, err := decodeQueued(data)
		if err != nil {
			return nil, fmt.Errorf("%s: queued snapshot: %w", path, err)
		}
		e.seq = seq
		q.entries = append(q.entries, e)
		q.next = seq + 1
	}
	return q, nil
}

// put makes a snapshot durable at the end of the queue.
func (q *queue) put(s *versions.Snapshot, packs []string, epoch uint64) (queued, error) {
	e := queued{seq: q.next, id: s.ID(), snapshot: s, packs: packs, epoch: epoch}
	if err := atomicfile.WriteFile(q.path(e), encodeQueued(e), 0o600); err != nil {
		return queued{}, err
	}
	q.entries = append(q.entries, e)
	q.next++
	return e, nil
}

// dropThrough removes the entry with id and all before it, which its commit
// made part of the line.
func (q *queue) dropThrough(id chunk.ID) ([]queued, error) {
	last := q.index(id)
	dropped := q.entries[:last+1]
	for i, e := range dropped {
		if err := atomicfile.Remove(q.path(e)); err != nil {
			q.entries = q.entries[i:]
			return dropped[:i], err
		}
	}
	q.entries = q.entries[last+1:]
	return dropped, nil
}

// index of an entry, -1 when it is not queued.
func (q *queue) index(id chunk.ID) int {
	for i, e := range q.entries {
		if e.id == id {
			return i
		}
	}
	return -1
}

// last is the newest entry.
func (q *queue) last() (queued, bool) {
	if len(q.entries) == 0 {
		return queued{}, false
	}
	return q.entries[len(q.entries)-1], true
}

func (q *queue) path(e queued) string {
	return filepath.Join(q.dir, fmt.Sprintf("%016x%s", e.seq, queueSuffix))
}

func encodeQueued(e queued) []byte {
	data, err := json.Marshal(queueFile{Format: stateFormat, Snapshot: e.snapshot.Encode(), Packs: e.packs, Epoch: e.epoch})
	if err != nil {
		panic(err) // cannot happen: only bytes and strings
	}
	return append(data, '\n')
}

func decodeQueued(data []byte) (queued, error) {
	var f queueFile
	if err := json.Unmarshal(data, &f); err != nil {
		return queued{}, err
	}
	if f.Format != stateFormat {
		return queued{}, fmt.Errorf("format %d is not known", f.Format)
	}
	s, err := versions.DecodeSnapshot(f.Snapshot)
	if err != nil {
		return queued{}, err
	}
	if s.Root.Kind != versions.Dir {
		return queued{}, errors.New("the root is not a directory")
	}
	return queued{id: s.ID(), snapshot: s, packs: f.Packs, epoch: f.Epoch}, nil
}
