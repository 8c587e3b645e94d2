package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/agent"
)

// manager is a service manager that notes what it is told.
type manager struct {
	mu   sync.Mutex // guards all below
	told []string
	st   agent.Status
	err  error
}

func (m *manager) tell(state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, state)
}

func (m *manager) status(context.Context) (agent.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.st, m.err
}

func (m *manager) set(st agent.Status, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.st, m.err = st, err
}

// has tells how often the manager was told something with this in it.
func (m *manager) has(text string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.told {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

func (m *manager) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			m.mu.Lock()
			defer m.mu.Unlock()
			t.Fatalf("%s: told %q", what, m.told)
		}
	}
}

func TestTheServiceManagerHearsWhatTheAgentAnswers(t *testing.T) {
	m := &manager{err: agent.ErrNotRunning}
	stopping, stop := context.WithCancel(t.Context())
	running, end := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		supervisor{status: m.status, tell: m.tell, watchdog: 2 * time.Millisecond}.run(stopping, running)
	}()
	starting := agent.Status{Folders: []agent.FolderStatus{{State: agent.StateStarting}}}
	m.set(starting, nil)
	if n := m.has("READY=1"); n != 0 {
		t.Fatalf("ready %d times while its folder is being prepared", n)
	}
	m.set(agent.Status{Folders: []agent.FolderStatus{{State: agent.StateSafe}, {State: agent.StateStopped}}}, nil)
	m.until(t, "it is ready", func() bool { return m.has("READY=1") == 1 })
	m.until(t, "it says how it is", func() bool { return m.has("STATUS=2 folders, 1 safe, 1 stopped") > 1 })

	// What hangs is not alive.
	m.set(agent.Status{}, errors.New("no answer"))
	m.until(t, "the last answer is told", func() bool {
		n := m.has("WATCHDOG=1")
		time.Sleep(20 * time.Millisecond)
		return m.has("WATCHDOG=1") == n
	})

	stop()
	m.until(t, "it says that it ends", func() bool { return m.has("STOPPING=1") == 1 })
	end()
	<-ended
}
