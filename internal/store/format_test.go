package store

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"pgregory.net/rapid"
)

// drawID draws an id of few values, so that ids meet.
func drawID(t *rapid.T) (id chunk.ID) {
	id[0], id[31] = byte(rapid.IntRange(0, 3).Draw(t, "first")), byte(rapid.IntRange(0, 20).Draw(t, "last"))
	return id
}

func drawEntries(t *rapid.T, packs int) []entry {
	entries := make([]entry, rapid.IntRange(0, 60).Draw(t, "entries"))
	for i := range entries {
		entries[i] = entry{
			pack: uint32(rapid.IntRange(0, packs-1).Draw(t, "pack")),
			frame: frame{id: drawID(t), kind: chunk.Kind(rapid.IntRange(1, 4).Draw(t, "kind")),
				offset: rapid.Uint32().Draw(t, "offset"), length: rapid.Uint32().Draw(t, "length"), plain: rapid.Uint32().Draw(t, "plain")},
		}
	}
	return entries
}

func TestSectionsRoundTripAndFindEveryPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		packs := make([]packRef, rapid.IntRange(1, 4).Draw(t, "packs"))
		for i := range packs {
			packs[i] = packRef{digest: digest{byte(i)}, size: int64(i) << 20, tree: i%2 == 1}
			packs[i].header[5] = byte(i)
		}
		entries := drawEntries(t, len(packs))
		sec, err := decodeSection(encodeSection(packs, entries))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(sec.packs, packs) || sec.n != len(entries) {
			t.Fatalf("%d entries in %d packs became %d in %d", len(entries), len(packs), sec.n, len(sec.packs))
		}
		for _, e := range entries {
			from, to := sec.find(e.id)
			found := false
			for i := from; i < to; i++ {
				found = found || sec.at(i) == e
			}
			if !found {
				t.Fatalf("%+v is not found in [%d, %d)", e, from, to)
			}
		}
		if from, to := sec.find(chunk.ID{9}); from != to {
			t.Fatal("found what is not there")
		}
	})
}

func TestDirectoriesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := make([]frame, rapid.IntRange(0, 40).Draw(t, "frames"))
		end := uint32(seal.PackHeader)
		for i := range frames {
			end += uint32(rapid.IntRange(0, 1000).Draw(t, "gap"))
			frames[i] = frame{id: drawID(t), kind: chunk.Data, offset: end, length: uint32(rapid.IntRange(17, 1<<20).Draw(t, "length")), plain: rapid.Uint32Range(0, 1<<20).Draw(t, "plain")}
			end += frames[i].length
		}
		shuffled := rapid.Permutation(frames).Draw(t, "order")
		got, err := parseDirectory(appendDirectory(nil, shuffled), int64(end))
		if err != nil || !slices.Equal(got, frames) {
			t.Fatalf("%v, %v", got, err)
		}
		if _, err := parseDirectory(appendDirectory(nil, frames), int64(end)-1); len(frames) > 0 && err == nil {
			t.Fatal("a frame that reaches into the directory was taken")
		}
	})
}

func TestTheTableHoldsWhatAMapWould(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		want := map[chunk.ID]map[entry]bool{}
		for range rapid.IntRange(0, 300).Draw(t, "n") {
			e := entry{frame: frame{id: drawID(t), offset: rapid.Uint32Range(0, 3).Draw(t, "offset")}, pack: rapid.Uint32Range(0, 2).Draw(t, "pack")}
			tab.add(e)
			if want[e.id] == nil {
				want[e.id] = map[entry]bool{}
			}
			want[e.id][e] = true
		}
		n := 0
		for id, entries := range want {
			got := map[entry]bool{}
			tab.find(id, func(e entry) bool { got[e] = true; return true })
			if len(got) != len(entries) {
				t.Fatalf("%d places of %s, want %d", len(got), id, len(entries))
			}
			n += len(entries)
		}
		if tab.n != n {
			t.Fatalf("%d entries, want %d", tab.n, n)
		}
		tab.find(chunk.ID{77}, func(entry) bool { t.Fatal("found what was not added"); return false })
	})
}

func TestEightyThousandChunksCostLessThanSixMegabytes(t *testing.T) {
	var tab table
	for i := range 80_000 {
		tab.add(entry{frame: frame{id: chunk.ID(seal.Hash(binary.LittleEndian.AppendUint32(nil, uint32(i))))}})
	}
	if size := len(tab.pages)*pageEntries*52 + 4*len(tab.slots); size > 6_000_000 {
		t.Fatalf("%d bytes", size)
	}
}

func TestRunsRoundTripAndFindTheShard(t *testing.T) {
	r := &run{name: "index/run/x", replaces: []string{"index/delta/a", "index/run/b"}}
	for i := range 10 {
		r.fences = append(r.fences, fence{first: chunk.ID{byte(10 * (i + 1))}, shard: digest{byte(i)}, count: uint32(i)})
	}
	got, err := decodeRun(r.name, encodeRun(r))
	if err != nil || !slices.Equal(got.fences, r.fences) || !slices.Equal(got.replaces, r.replaces) || got.entries() != 45 {
		t.Fatalf("%+v, %v", got, err)
	}
	for id, want := range map[byte]int{0: -1, 9: -1, 10: 0, 19: 0, 20: 1, 100: 9, 255: 9} {
		if got := got.shard(chunk.ID{id}); got != want {
			t.Errorf("id %d is looked for in shard %d, want %d", id, got, want)
		}
	}
}

func TestMergeYieldsEveryPlaceOnceInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		packs := []packRef{{digest: digest{1}}, {digest: digest{2}}, {digest: digest{3}}}
		type key struct {
			id     chunk.ID
			pack   digest
			offset uint32
		}
		want := map[key]bool{}
		var sources sourceHeap
		for range rapid.IntRange(0, 5).Draw(t, "sources") {
			entries := drawEntries(t, len(packs))
			for i := range entries {
				entries[i].offset %= 4
				want[key{entries[i].id, packs[entries[i].pack].digest, entries[i].offset}] = true
			}
			sec, err := decodeSection(encodeSection(packs, entries))
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, &source{sec: sec})
		}
		var last chunk.ID
		err := merge(sources, func(e entry, ref packRef) error {
			k := key{e.id, ref.digest, e.offset}
			if !want[k] {
				t.Fatalf("%+v comes twice or was not there", k)
			}
			delete(want, k)
			if bytes.Compare(last[:], e.id[:]) > 0 {
				t.Fatal("not in order")
			}
			last = e.id
			return nil
		})
		if err != nil || len(want) > 0 {
			t.Fatalf("%d places are missing, %v", len(want), err)
		}
	})
}

func TestShardsAreCutBetweenIDsAndStaySmall(t *testing.T) {
	var shards [][]entry
	var sizes []int
	w := shardWriter{put: func(packs []packRef, entries []entry) (fence, error) {
		shards = append(shards, slices.Clone(entries))
		sizes = append(sizes, len(encodeSection(packs, slices.Clone(entries))))
		return fence{first: entries[0].id}, nil
	}}
	n := 300_000
	var ids []chunk.ID
	for i := range n {
		ids = append(ids, chunk.ID(seal.Hash(binary.LittleEndian.AppendUint32(nil, uint32(i)))))
	}
	slices.SortFunc(ids, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
	for i, id := range ids {
		for k := range 1 + i%2 { // some have two places
			ref := packRef{digest: digest{byte(i), byte(i >> 8), byte(k)}}
			if err := w.add(entry{frame: frame{id: id}}, ref); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, s := range shards {
		total += len(s)
		if sizes[i] > shardMax {
			t.Errorf("shard %d has %d bytes", i, sizes[i])
		}
		if i > 0 {
			if a, b := shards[i-1][len(shards[i-1])-1].id, s[0].id; bytes.Equal(a[:2], b[:2]) {
				t.Errorf("shards %d and %d share a prefix", i-1, i)
			}
		}
	}
	if total != n+n/2 || len(shards) < 5 {
		t.Fatalf("%d places in %d shards", total, len(shards))
	}
}

func FuzzDecodeSection(f *testing.F) {
	f.Add(encodeSection([]packRef{{size: 7}}, []entry{{frame: frame{id: chunk.ID{1}}}, {frame: frame{id: chunk.ID{2}}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		sec, err := decodeSection(data)
		if err != nil {
			return
		}
		for i := range sec.n {
			if from, to := sec.find(sec.at(i).id); i < from || i >= to {
				t.Fatalf("entry %d is not found", i)
			}
		}
	})
}

func FuzzParseDirectory(f *testing.F) {
	f.Add(appendDirectory(nil, []frame{{id: chunk.ID{1}, offset: 37, length: 20, plain: 3}}), int64(57))
	f.Fuzz(func(t *testing.T, data []byte, limit int64) {
		frames, err := parseDirectory(data, limit)
		if err != nil {
			return
		}
		for _, fr := range frames {
			if int64(fr.offset)+int64(fr.length) > limit || int(fr.offset) < seal.PackHeader {
				t.Fatalf("frame %+v outside of the pack", fr)
			}
		}
	})
}

func FuzzDecodeRun(f *testing.F) {
	f.Add(encodeRun(&run{fences: []fence{{first: chunk.ID{1}}, {first: chunk.ID{2}}}, replaces: []string{"a"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRun("x", data)
		if err != nil {
			return
		}
		if again, err := decodeRun("x", encodeRun(r)); err != nil || !slices.Equal(again.fences, r.fences) {
			t.Fatalf("does not round-trip: %v", err)
		}
	})
}

func FuzzDecodeMark(f *testing.F) {
	f.Add(encodeMark([]digest{{1}, {2}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		packs, err := decodeMark(data)
		if err == nil && !bytes.Equal(encodeMark(packs), data) {
			t.Fatal("does not round-trip")
		}
	})
}
