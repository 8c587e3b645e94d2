package remote

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"sync"
	"time"
)

const (
	turnTime = 10 * time.Second
	// turnPause follows a turn that ended by itself: the others come first.
	turnPause = 2 * time.Second
	turnMost  = 4096
)

// turns let a client that lost twice commit without being overtaken again. They
// are politeness: nothing depends on them.
type turns struct {
	now func() time.Time

	mu   sync.Mutex // guards held
	held map[string]turn
}

type turn struct {
	id   string
	till time.Time
}

func newTurns(now func() time.Time) *turns { return &turns{now: now, held: map[string]turn{}} }

// take gives a folder's turn for a time, or tells how long another has it.
func (t *turns) take(folder string, period time.Duration) (id string, left time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if held, ok := t.held[folder]; ok {
		if left := held.till.Add(turnPause).Sub(now); left > 0 && left <= turnTime+turnPause {
			return "", left, false
		}
	}
	if len(t.held) >= turnMost {
		for other, held := range t.held {
			if now.After(held.till.Add(turnPause)) {
				delete(t.held, other)
			}
		}
		if len(t.held) >= turnMost {
			return "", turnTime, false
		}
	}
	var random [16]byte
	rand.Read(random[:]) // never fails
	id = hex.EncodeToString(random[:])
	t.held[folder] = turn{id: id, till: now.Add(period)}
	return id, period, true
}

// heldByOther tells whether somebody else than the holder of id has the turn.
func (t *turns) heldByOther(folder, id string) (left time.Duration, other bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	held, ok := t.held[folder]
	if !ok || sameTurn(held.id, id) {
		return 0, false
	}
	left = held.till.Sub(t.now())
	return left, left > 0 && left <= turnTime // else over, or the clock was set
}

// end gives the turn back.
func (t *turns) end(folder, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if held, ok := t.held[folder]; ok && sameTurn(held.id, id) {
		delete(t.held, folder)
	}
}

func sameTurn(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
