package syncer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// holds are the deletions of a folder that wait for the user's word.
type holds struct {
	out heldSide // deleted here: the line has it, this disk lacks it
	in  heldSide // deleted elsewhere: this disk has it, the line lacks it
}

// heldSide is what is held on one side, and what is told of it.
type heldSide struct {
	reconcile.Held
	since time.Time
	most  int64  // files that there were
	from  string // host that deleted it
}

func (h holds) empty() bool { return h.out.Empty() && h.in.Empty() }

// differs tells whether it must be written again.
func (h holds) differs(o holds) bool {
	same := func(a, b heldSide) bool {
		return a.since.Equal(b.since) && a.Files() == b.Files() && len(a.Items()) == len(b.Items())
	}
	return !same(h.out, o.out) || !same(h.in, o.in)
}

// holdsFile is holds as they lie on the disk. The base names the file, so that
// both change at once.
type holdsFile struct {
	Format int       `json:"format"`
	Here   *holdSide `json:"here,omitempty"`
	Away   *holdSide `json:"elsewhere,omitempty"`
}

type holdSide struct {
	Since time.Time  `json:"since"`
	Most  int64      `json:"most"`
	From  string     `json:"from,omitempty"`
	Items []holdItem `json:"items"`
}

type holdItem struct {
	Path  []byte `json:"path"`  // its bytes need not be UTF-8
	Entry []byte `json:"entry"` // versions.AppendEntry
	Whole bool   `json:"whole,omitempty"`
}

func holdsPath(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("holds.%d.json", number))
}

func encodeHolds(h holds) []byte {
	side := func(s heldSide) *holdSide {
		if s.Empty() {
			return nil
		}
		out := &holdSide{Since: s.since.UTC(), Most: s.most, From: s.from}
		for _, it := range s.Items() {
			out.Items = append(out.Items, holdItem{Path: []byte(it.Path), Entry: versions.AppendEntry(nil, it.Entry), Whole: it.Whole})
		}
		return out
	}
	data, err := json.Marshal(holdsFile{Format: stateFormat, Here: side(h.out), Away: side(h.in)})
	if err != nil {
		panic(err) // cannot happen: only strings, numbers, times and bytes
	}
	return append(data, '\n')
}

func decodeHolds(data []byte) (h holds, err error) {
	var f holdsFile
	if err := json.Unmarshal(data, &f); err != nil {
		return h, err
	}
	if f.Format != stateFormat {
		return h, fmt.Errorf("format %d is not known", f.Format)
	}
	side := func(s *holdSide) (heldSide, error) {
		if s == nil {
			return heldSide{}, nil
		}
		items := make([]reconcile.HeldItem, len(s.Items))
		for i, it := range s.Items {
			e, rest, err := versions.DecodeEntry(it.Entry)
			if err != nil || len(rest) > 0 || len(it.Path) == 0 {
				return heldSide{}, errors.Join(err, fmt.Errorf("item %d is damaged", i))
			}
			items[i] = reconcile.HeldItem{Path: string(it.Path), Entry: e, Whole: it.Whole}
		}
		return heldSide{Held: reconcile.NewHeld(items), since: s.Since, most: s.Most, from: s.From}, nil
	}
	if h.out, err = side(f.Here); err == nil {
		h.in, err = side(f.Away)
	}
	return h, err
}

// readHolds reads the holds that a base names. One that cannot be read is an
// error: without it what is held would be deleted everywhere.
func readHolds(dir string, number uint64) (holds, error) {
	if number == 0 {
		return holds{}, nil
	}
	path := holdsPath(dir, number)
	data, err := os.ReadFile(path)
	if err != nil {
		return holds{}, err
	}
	h, err := decodeHolds(data)
	if err != nil {
		return holds{}, fmt.Errorf("%s: deletions that wait for confirm or undo: %w", path, err)
	}
	return h, nil
}

// sweepHolds removes what no base names: of a change that a crash cut.
func sweepHolds(dir string, number uint64) error {
	list, err := filepath.Glob(filepath.Join(dir, "holds.*.json"))
	if err != nil {
		return err
	}
	for _, path := range list {
		if path != holdsPath(dir, number) {
			if err := atomicfile.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// setBase makes b the base, durably. What is held stays.
func (s *Syncer) setBase(b Base) error {
	s.baseMu.Lock()
	defer s.baseMu.Unlock()
	s.mu.Lock()
	b.Holds = s.base.Holds
	s.mu.Unlock()
	return s.writeBase(b)
}

// setHolds makes h what is held, durably, with the base as it is.
func (s *Syncer) setHolds(h holds) error {
	s.baseMu.Lock()
	defer s.baseMu.Unlock()
	s.mu.Lock()
	b, same := s.base, !h.differs(s.holds)
	s.mu.Unlock()
	if same {
		return nil
	}
	return s.writeBoth(b, h)
}

// setBaseAndHolds changes both at once.
func (s *Syncer) setBaseAndHolds(b Base, h holds) error {
	s.baseMu.Lock()
	defer s.baseMu.Unlock()
	s.mu.Lock()
	b.Holds = s.base.Holds
	same := !h.differs(s.holds)
	s.mu.Unlock()
	if same {
		return s.writeBase(b)
	}
	return s.writeBoth(b, h)
}

// writeBoth is called with baseMu held.
func (s *Syncer) writeBoth(b Base, h holds) error {
	s.mu.Lock()
	old := s.base.Holds
	s.mu.Unlock()
	b.Holds = 0
	if !h.empty() {
		b.Holds = old + 1
		if old == 0 {
			b.Holds = s.lastHolds + 1
		}
		s.lastHolds = b.Holds
		if err := atomicfile.WriteFile(holdsPath(s.o.StateDir, b.Holds), encodeHolds(h), 0o600); err != nil {
			return fmt.Errorf("note what is held: %w", err)
		}
	}
	if err := s.writeBase(b); err != nil {
		return err
	}
	s.mu.Lock()
	s.holds = h
	s.mu.Unlock()
	return sweepHolds(s.o.StateDir, b.Holds)
}

// writeBase is called with baseMu held.
func (s *Syncer) writeBase(b Base) error {
	if err := writeBase(s.o.StateDir, b); err != nil {
		return fmt.Errorf("write the base: %w", err)
	}
	s.mu.Lock()
	s.base, s.attached, s.basedAt = b, !b.Snapshot.IsZero(), time.Now()
	s.mu.Unlock()
	return nil
}

// held is what is held now.
func (s *Syncer) held() holds {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holds
}

// roundsFile is the window of deletions as it lies on the disk.
type roundsFile struct {
	Format int         `json:"format"`
	Rounds []roundFile `json:"rounds"`
}

type roundFile struct {
	At      time.Time `json:"at"`
	Before  []byte    `json:"before"`
	After   []byte    `json:"after"`
	Removed int64     `json:"removed"`
}

func roundsPath(dir string) string { return filepath.Join(dir, "deletions.json") }

// readRounds reads what was deleted here lately. A file that is damaged says
// nothing: then a window begins anew.
func readRounds(dir string) (reconcile.Rounds, error) {
	data, err := os.ReadFile(roundsPath(dir))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f roundsFile
	if json.Unmarshal(data, &f) != nil || f.Format != stateFormat {
		return nil, nil
	}
	var list reconcile.Rounds
	for _, r := range f.Rounds {
		before, rest, err := versions.DecodeEntry(r.Before)
		after, rest2, err2 := versions.DecodeEntry(r.After)
		if err != nil || err2 != nil || len(rest)+len(rest2) > 0 {
			return nil, nil
		}
		list = append(list, reconcile.Round{At: r.At, Before: before, After: after, Removed: r.Removed})
	}
	return list, nil
}

func (s *Syncer) writeRounds(list reconcile.Rounds) error {
	f := roundsFile{Format: stateFormat, Rounds: []roundFile{}}
	for _, r := range list {
		f.Rounds = append(f.Rounds, roundFile{
			At: r.At.UTC(), Before: versions.AppendEntry(nil, r.Before), After: versions.AppendEntry(nil, r.After), Removed: r.Removed,
		})
	}
	data, err := json.Marshal(f)
	if err != nil {
		panic(err) // cannot happen: only numbers, times and bytes
	}
	if err := atomicfile.WriteFile(roundsPath(s.o.StateDir), append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("note what was deleted: %w", err)
	}
	s.rounds = list
	return nil
}
