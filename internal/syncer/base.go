package syncer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// Base is the newest snapshot that the remote's line and this machine's tree
// have in common.
type Base struct {
	Repository string
	Folder     string
	Number     uint64 // of the head that held it
	Epoch      uint64 // of that head
	Snapshot   chunk.ID
	Instant    versions.Instant
	Root       versions.Entry
	Holds      uint64 // number of the file that says which deletions are held; 0: none
	// Anew: the line is not the one that this machine has known, and the user
	// has accepted it. Root is only what the line's tree and ours have in
	// common, so that a merge with it deletes nothing.
	Anew bool
}

// baseFile is Base as it lies on the disk.
type baseFile struct {
	Format     int    `json:"format"`
	Repository string `json:"repository"`
	Folder     string `json:"folder"`
	Number     uint64 `json:"number"`
	Epoch      uint64 `json:"epoch"`
	Snapshot   string `json:"snapshot,omitempty"`
	Instant    string `json:"instant,omitempty"`
	Root       []byte `json:"root,omitempty"` // versions.AppendEntry
	Holds      uint64 `json:"holds,omitempty"`
	Anew       bool   `json:"anew,omitempty"`
}

const stateFormat = 1

// errBase is a base file that cannot be read; the folder attaches anew.
var errBase = errors.New("the record of the last common state is damaged")

func basePath(dir string) string { return filepath.Join(dir, "base.json") }

// ReadBase reads a folder's base from its state directory; io/fs.ErrNotExist
// while there is none.
func ReadBase(dir string) (Base, error) {
	data, err := os.ReadFile(basePath(dir))
	if err != nil {
		return Base{}, err
	}
	b, err := decodeBase(data)
	if err != nil {
		return Base{}, fmt.Errorf("%s: %w: %w", basePath(dir), errBase, err)
	}
	return b, nil
}

func writeBase(dir string, b Base) error {
	return atomicfile.WriteFile(basePath(dir), encodeBase(b), 0o600)
}

func encodeBase(b Base) []byte {
	f := baseFile{Format: stateFormat, Repository: b.Repository, Folder: b.Folder, Number: b.Number, Epoch: b.Epoch, Holds: b.Holds, Anew: b.Anew}
	if !b.Snapshot.IsZero() {
		f.Snapshot, f.Instant, f.Root = b.Snapshot.String(), b.Instant.String(), versions.AppendEntry(nil, b.Root)
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		panic(err) // cannot happen: only strings, numbers and bytes
	}
	return append(data, '\n')
}

func decodeBase(data []byte) (Base, error) {
	var f baseFile
	if err := json.Unmarshal(data, &f); err != nil {
		return Base{}, err
	}
	if f.Format != stateFormat {
		return Base{}, fmt.Errorf("format %d is not known", f.Format)
	}
	b := Base{Repository: f.Repository, Folder: f.Folder, Number: f.Number, Epoch: f.Epoch, Holds: f.Holds, Anew: f.Anew}
	if f.Snapshot == "" {
		return b, nil
	}
	var err error
	if b.Snapshot, err = chunk.ParseID(f.Snapshot); err != nil {
		return Base{}, err
	}
	if b.Instant, err = versions.ParseInstant(f.Instant); err != nil {
		return Base{}, err
	}
	root, rest, err := versions.DecodeEntry(f.Root)
	if err != nil {
		return Base{}, err
	}
	if len(rest) != 0 || root.Kind != versions.Dir {
		return Base{}, errors.New("the root is not a directory")
	}
	b.Root = root
	return b, nil
}

// missing tells an error that only says that a thing is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
