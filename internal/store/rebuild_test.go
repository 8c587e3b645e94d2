package store_test

import (
	"errors"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/store"
)

func TestARebuildKeepsWhatOnlyTheOldIndexKnows(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		remote, keys := blob.NewMem(nil), newKeys(t)
		s := newMachine(t, remote, keys).open()
		all := stored{}
		for i := range 10 {
			data := noise(uint64(i), 1000)
			all[put(t, s, chunk.Data, data)] = data
		}
		round(t, s)
		for id, data := range putMany(t, s, 100, 8, 3000) {
			all[id] = data
		}
		victim := listNames(t, remote, "packs/")[0]
		round(t, s)
		if compacted {
			must(t, s.CompactIndex(t.Context()))
		}
		// Neither the directory nor one of the chunks can be read any more.
		data := readAll(t, remote, victim)
		data[len(data)-20] ^= 4
		data[2500] ^= 4
		replace(t, remote, victim, data)

		fresh := newMachine(t, remote, keys).open()
		var problems []store.Problem
		must(t, fresh.RebuildIndex(t.Context(), nil, func(p store.Problem) { problems = append(problems, p) }))
		if len(problems) == 0 || problems[0].Blob != victim || !errors.Is(problems[0].Err, store.ErrCorrupt) {
			t.Errorf("problems %v", problems)
		}
		again := newMachine(t, remote, keys).open()
		var lost []chunk.ID
		for id := range all {
			if _, err := again.Get(t.Context(), chunk.Data, id); err != nil {
				lost = append(lost, id)
			}
		}
		if len(lost) != 1 {
			t.Fatalf("%d chunks are lost, one was damaged", len(lost))
		}
		// What is damaged does not count as stored.
		put(t, again, chunk.Data, all[lost[0]])
		round(t, again)
		all.wantIn(t, newMachine(t, remote, keys).open())
	}
}

func TestWhatIsNotKnownToBeOnTheRemoteStaysInTheSpool(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	all := putMany(t, s, 0, 10, 1000)
	must(t, s.Flush(t.Context()))
	names, _ := s.Pending()
	must(t, s.Committed(t.Context(), names)) // by mistake: nothing was sent
	all.wantIn(t, s)
	round(t, s)
	if now, _ := s.Pending(); len(now) > 0 {
		t.Errorf("pending %v", now)
	}
	all.wantIn(t, newMachine(t, remote, keys).open())
}
