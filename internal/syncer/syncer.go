package syncer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// Syncer keeps one folder and its line equal. Run does the work; everything
// else may be called at any time by any goroutine.
type Syncer struct {
	o Options

	// tree is held while the folder's tree is built or changed by us: a build
	// must not see half of what an apply does. It is taken before mu.
	tree     sync.Mutex
	moveless bool // a rename could not be made: the next apply makes none; guarded by tree

	retried time.Time // when what cannot be read was last tried again; the builder's alone

	rounds reconcile.Rounds // what was deleted here lately; with tree held

	baseMu    sync.Mutex // held while the base's file is replaced; taken before mu
	lastHolds uint64     // number of the newest file of holds; with baseMu held

	mu         sync.Mutex // guards all below
	queue      *queue
	base       Base
	holds      holds          // deletions that wait for the user's word; base names their file
	mixture    mixture        // of an apply that is not done; zero: none
	attached   bool           // base says something
	head       *line.Folder   // newest that we know of; nil: ask
	headRecord *line.Recorded // of the head, from its event; nil: ask
	stale      bool           // heads may have moved unseen, and no round has begun since
	learned    bool           // the store knows all chunks of the head
	vouched    chunk.ID       // a base that the remote's line is known to have in its past
	epoch      uint64         // of the last prune whose marks the store knows
	healed     int            // packs set aside in the spool whose chunks the queue does not need any more
	status     Status
	failures   int      // of the remote, in a row
	flushes    []*flush // under way
	pushing    bool     // something is on its way
	soon       bool     // an apply left something, and no round has looked at it since

	announced   uint64    // number of the base that the remote was told last
	announcedAt time.Time // when
	basedAt     time.Time // when the base changed last

	displaced   []displaced // moved into staging by us, and not looked after yet
	absentTried bool        // what this disk could not hold was tried in this run
	untracking  []string    // left the tree, and the next snapshot says so

	halted  context.Context // ends when rounds are paused
	halt    context.CancelFunc
	resumed chan struct{} // closed when they go on

	trouble map[string]string // that was told of, by path
	told    map[string]bool   // conflict copies that were told of when they were merged; guarded by tree

	gateMu   sync.Mutex         // guards gated, yielding; taken inside steps, after everything else
	gated    map[ownStep]uint32 // steps on directories of the apply under way, with the recorded modes
	yielding map[ownStep]bool   // steps that may displace what rules keep out

	frozen atomic.Bool   // nothing is applied any more
	run    string        // tells names in staging of this run from others'
	staged atomic.Uint64 // names in staging so far

	build     chan struct{} // wakes the builder
	sync      chan struct{} // wakes the remote side
	contacted chan struct{} // closed when the remote has been asked for the first time, however that ended
}

// New reads what the state directory holds. Nothing is started.
func New(o Options) (*Syncer, error) {
	o.fill()
	if err := atomicfile.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, err
	}
	if err := atomicfile.Sweep(o.StateDir); err != nil {
		return nil, err
	}
	s := &Syncer{o: o, build: make(chan struct{}, 1), sync: make(chan struct{}, 1), contacted: make(chan struct{}), told: map[string]bool{}, run: rand.Text()[:8]}
	s.halted, s.halt = context.WithCancel(context.Background())
	s.resumed = make(chan struct{})
	s.status.State = Starting
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("folder %s: %w", o.Name, err)
	}
	return s, nil
}

// load reads base and queue, and ends what a crash cut: entries that the base
// has already leave the queue.
func (s *Syncer) load() error {
	var err error
	if s.queue, err = openQueue(s.o.QueueDir); err != nil {
		return err
	}
	for _, e := range s.queue.entries {
		s.o.Packs.add(e.packs)
	}
	if s.displaced, err = readDisplaced(s.o.StateDir); err != nil {
		return err
	}
	if s.rounds, err = readRounds(s.o.StateDir); err != nil {
		return err
	}
	if s.mixture, err = readMixture(s.o.StateDir); err != nil {
		return err
	}
	if s.untracking, err = readUntracking(s.o.StateDir); err != nil {
		return err
	}
	s.base, err = ReadBase(s.o.StateDir)
	switch {
	case err == nil && s.base.Repository != s.o.Repository:
		return fmt.Errorf("%w: it was synced with repository %.8s, this is %.8s", ErrReplaced, s.base.Repository, s.o.Repository)
	case err == nil:
		s.attached = true
		if s.holds, err = readHolds(s.o.StateDir, s.base.Holds); err != nil {
			return err
		}
		s.lastHolds = s.base.Holds
		if err := sweepHolds(s.o.StateDir, s.base.Holds); err != nil {
			return err
		}
		return s.settleQueue(context.Background())
	case missing(err):
		return nil
	case errors.Is(err, errBase):
		s.o.Logger.Warn("attaching anew", "err", err)
		s.o.Note(Operation{What: "error", Text: err.Error() + "; the folder attaches anew"})
		return nil
	}
	return err
}

// tip is the newest snapshot of this machine: the last in the queue, or the base.
func (s *Syncer) tip() (id chunk.ID, instant versions.Instant, root versions.Entry) {
	if e, ok := s.queue.last(); ok {
		return e.id, e.snapshot.Instant, e.snapshot.Root
	}
	return s.base.Snapshot, s.base.Instant, s.base.Root
}

// Root is the tree as it was captured or applied last.
func (s *Syncer) Root() versions.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _, root := s.tip()
	return root
}

// Look tells what is on the disk at path now: its kind, size and time.
func (s *Syncer) Look(path string) (versions.Entry, error) {
	st, err := statBelow(s.o.Root, path)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fs.ErrNotExist // a directory on the way has become a file
	}
	if err != nil {
		return versions.Entry{}, err
	}
	kind, _ := st.Kind()
	return versions.Entry{Kind: kind, Size: st.Size, MTime: st.MTime}, nil
}

// Run works until ctx ends. The folder has been scanned (Attach) before.
func (s *Syncer) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.runBuilder(ctx) })
	g.Go(func() error { return s.runRemote(ctx) })
	g.Go(func() error { return s.runSweeper(ctx) })
	return g.Wait()
}

// kick wakes a loop; a wake that waits already is enough.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Kick starts a round of the remote side now: the remote can be reached again,
// or somebody waits.
func (s *Syncer) Kick() {
	s.mu.Lock()
	s.failures = 0
	s.mu.Unlock()
	kick(s.sync)
}

// Freeze ends applying: the folder is being unmounted. What is here is still
// captured and sent.
func (s *Syncer) Freeze() { s.frozen.Store(true) }

// HeadMoved tells of a new head, from an event: with its record, if that came
// along, and whether the chunks store has learned all that it brought.
func (s *Syncer) HeadMoved(head line.Folder, record *line.Recorded, learned bool) {
	s.mu.Lock()
	if s.head == nil || head.Number > s.head.Number {
		if s.head == nil || head.Number != s.head.Number+1 || !s.learned {
			learned = false // what came before is not known
		}
		s.head, s.headRecord, s.learned = &head, record, learned
	}
	s.mu.Unlock()
	kick(s.sync)
}

// Stale tells that heads may have moved unseen (the event stream was cut).
func (s *Syncer) Stale() {
	s.mu.Lock()
	s.head, s.headRecord, s.learned = nil, nil, false
	s.stale = true
	s.mu.Unlock()
	kick(s.sync)
}

// askAnew forgets a head that was asked for, or made, before Stale was called,
// and came after.
func (s *Syncer) askAnew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stale {
		s.head, s.headRecord, s.learned, s.stale = nil, nil, false, false
	}
}

// sleep waits, or less when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Reached tells whether this machine has everything that the line had at head
// number. The error is one that only the user can do something about.
func (s *Syncer) Reached(number uint64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.refused {
		return false, s.status.remoteErr
	}
	if s.head != nil && s.head.Snapshot.IsZero() {
		return true, nil // an empty folder
	}
	return s.attached && s.base.Number >= number, nil
}
