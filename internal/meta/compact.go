package meta

import (
	"time"

	"github.com/dgraph-io/badger/v4"
)

// compactor merges the tables that writes leave behind. Badger's own compactors
// look for work 40 times a second for as long as the database is open, which is
// most of what an agent at rest would need; this one looks after a write.
type compactor struct {
	wake chan struct{} // of capacity 1
	stop chan struct{}
	done chan struct{}
}

const (
	// compactPause lets writes gather before a look at what they left.
	compactPause = 50 * time.Millisecond
	// compactRetry is the pause after a failure: the disk may be full.
	compactRetry = 5 * time.Second
	// freshTables are merged when there are so many of them, and they hold an
	// eighth of what all others do: so each byte is written about nine times,
	// and a lookup asks few tables.
	freshTables = 4
	freshShare  = 8
	// stallTables make writes wait for the merge.
	stallTables = 512
)

func (c *compactor) start(db *DB) {
	c.wake, c.stop, c.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(c.done)
		c.run(db)
	}()
}

// close waits for a merge under way.
func (c *compactor) close() {
	close(c.stop)
	<-c.done
}

// written says that there may be something to merge.
func (c *compactor) written() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *compactor) run(db *DB) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		}
		pause.Reset(compactPause)
		select {
		case <-c.stop:
			return
		case <-pause.C:
		}
		if err := guard(func() error { return compactDue(db.badger) }); err != nil {
			db.log.Debug("the local database is not compacted", "error", err)
			pause.Reset(compactRetry)
			select {
			case <-c.stop:
				return
			case <-pause.C:
			}
			c.written() // try again without a write
		}
	}
}

// compactDue merges everything into one level when enough was written.
func compactDue(b *badger.DB) error {
	var rest int64
	levels := b.Levels()
	for _, l := range levels[1:] {
		rest += l.Size
	}
	if fresh := levels[0]; fresh.NumTables < freshTables || fresh.Size < rest/freshShare {
		return nil
	}
	return b.Flatten(1)
}
