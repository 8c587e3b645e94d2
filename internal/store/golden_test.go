package store_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

var update = flag.Bool("update", false, "write the golden repository anew: only while the format is not released")

// goldenDir is a repository as version 1 of the format wrote it.
var goldenDir = filepath.Join("..", "..", "tests", "formats", "v1", "store")

// goldenFacts is what must be found in it.
type goldenFacts struct {
	Repository string              `json:"repository"`
	Passphrase string              `json:"passphrase"`
	Identity   string              `json:"identity"`
	Chunks     map[string][]string `json:"chunks"` // by kind, ids in the order of goldenChunk
}

const goldenChunks = 12

// goldenChunk is a content that every version makes again.
func goldenChunk(kind chunk.Kind, i int) []byte {
	switch {
	case i == 0:
		return nil
	case i%3 == 0:
		return noise(uint64(int(kind)*100+i), 1000*i)
	default:
		return text(int(kind)*100+i, 700*i)
	}
}

var goldenKinds = []chunk.Kind{chunk.Data, chunk.List, chunk.Tree, chunk.Dirs}

func writeGolden(t *testing.T) {
	must(t, os.RemoveAll(goldenDir))
	repo := filepath.Join(goldenDir, "repository")
	remote, err := blob.OpenDir(repo, blob.DirOptions{Now: func() time.Time { return time.Unix(1750000000, 0) }})
	must(t, err)
	facts := goldenFacts{Passphrase: "golden passphrase", Chunks: map[string][]string{}}
	keys, err := store.Init(t.Context(), remote, facts.Passphrase, "golden", fixed(1), store.WorkFactor(10))
	must(t, err)
	facts.Repository = keys.RepositoryID()
	facts.Identity, _, err = store.NewDevice(t.Context(), remote, keys, "device")
	must(t, err)
	s := newMachine(t, remote, keys).open()
	for i := range goldenChunks {
		for _, kind := range goldenKinds {
			id := put(t, s, kind, goldenChunk(kind, i))
			facts.Chunks[kind.String()] = append(facts.Chunks[kind.String()], id.String())
		}
		switch i {
		case 2, 4:
			round(t, s)
		case 6:
			round(t, s)
			must(t, s.CompactIndex(t.Context()))
		}
	}
	round(t, s)
	_, err = s.Mark(t.Context(), listNames(t, remote, "packs/")[:1])
	must(t, err)
	head, err := keys.SealBlob("golden", "head", []byte("content of a head"))
	must(t, err)
	_, err = remote.Commit(t.Context(), "00112233445566778899aabbccddeeff", blob.Commit{Sealed: head, ID: seed64, Record: []byte("record")})
	must(t, err)
	must(t, remote.Close())
	data, err := json.MarshalIndent(facts, "", "\t")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(goldenDir, "facts.json"), append(data, '\n'), 0o644))
}

const seed64 = "00000000000000000000000000000000000000000000000000000000000000aa"

// copyGolden gives the golden repository in a directory that may be written to.
func copyGolden(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repository")
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join(goldenDir, "repository"))))
	return dir
}

func TestTheGoldenRepositoryOpensForEver(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	data, err := os.ReadFile(filepath.Join(goldenDir, "facts.json"))
	must(t, err)
	var facts goldenFacts
	must(t, json.Unmarshal(data, &facts))
	remote, err := blob.OpenDir(copyGolden(t), blob.DirOptions{})
	must(t, err)
	keys, err := store.Unlock(t.Context(), remote, facts.Passphrase)
	must(t, err)
	device, err := store.UnlockDevice(t.Context(), remote, facts.Identity)
	must(t, err)
	if keys.RepositoryID() != facts.Repository || device.RepositoryID() != facts.Repository {
		t.Fatalf("repository %s and %s, want %s", keys.RepositoryID(), device.RepositoryID(), facts.Repository)
	}
	s := newMachine(t, remote, keys).open()
	for _, kind := range goldenKinds {
		ids := facts.Chunks[kind.String()]
		if len(ids) != goldenChunks {
			t.Fatalf("%d ids of %s chunks", len(ids), kind)
		}
		for i, text := range ids {
			id, err := chunk.ParseID(text)
			must(t, err)
			want := goldenChunk(kind, i)
			if keys.ChunkID(kind, want) != id {
				t.Fatalf("%s chunk %d has another id now", kind, i)
			}
			wantChunk(t, s, kind, id, want)
		}
	}
	for _, p := range check(t, s, true) {
		t.Errorf("problem: %+v", p)
	}
	for _, prefix := range []string{"index/delta/", "index/run/", "index/shard/", "marks/", "keys/", "packs/"} {
		if len(listNames(t, remote, prefix)) == 0 {
			t.Errorf("the golden repository has no %s", prefix)
		}
	}
	marked := 0
	for _, kind := range goldenKinds {
		for _, text := range facts.Chunks[kind.String()] {
			id, err := chunk.ParseID(text)
			must(t, err)
			if has, err := s.Has(t.Context(), kind, id); err != nil {
				t.Fatal(err)
			} else if !has {
				marked++
			}
		}
	}
	if marked == 0 {
		t.Error("the mark has no effect")
	}
	head, err := remote.Head(t.Context(), "00112233445566778899aabbccddeeff")
	must(t, err)
	plain, err := keys.OpenBlob("golden", "head", head.Sealed)
	if err != nil || string(plain) != "content of a head" || head.Number != 1 || !head.Received.Equal(time.Unix(1750000000, 0)) {
		t.Errorf("head %+v, %q, %v", head, plain, err)
	}
	folder, number, received, rid, err := blob.ParseRecordName(head.Record)
	if err != nil || folder != head.Folder || number != 1 || !received.Equal(head.Received) || rid != seed64 {
		t.Errorf("record %q: %v", head.Record, err)
	}
	if got := readAll(t, remote, head.Record); !bytes.Equal(got, []byte("record")) {
		t.Errorf("the record reads %q", got)
	}
}

func TestTheGoldenRepositoryCanBeWrittenTo(t *testing.T) {
	remote, err := blob.OpenDir(copyGolden(t), blob.DirOptions{})
	must(t, err)
	keys, err := store.Unlock(t.Context(), remote, "golden passphrase")
	must(t, err)
	s := newMachine(t, remote, keys).open()
	all := putMany(t, s, 1000, 10, 3000)
	round(t, s)
	must(t, s.CompactIndex(t.Context()))
	all.wantIn(t, newMachine(t, remote, keys).open())
	if _, err := store.Unlock(t.Context(), remote, "another"); err == nil {
		t.Error("another passphrase opened it")
	}
}
