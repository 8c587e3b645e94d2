package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/remote"
	"github.com/syncfs/syncfs/versions"
)

func TestEveryConditionHasItsExitCode(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{coded(exitPartial, errors.New("some")), 3},
		{coded(exitConflicts, errors.New("two")), 4},
		{blob.ErrOffline, 5},
		{agent.ErrTimeout, 5},
		{store.ErrCorrupt, 6},
		{versions.ErrCorrupt, 6},
		{blob.ErrCorrupt, 6},
		{store.ErrNoRepository, 10},
		{agent.ErrNotConnected, 10},
		{agent.ErrRunning, 11},
		{agent.ErrBusy, 11},
		{&remote.BusyError{Dir: "d", PID: 7}, 11},
		{seal.ErrAuth, 12},
		{blob.ErrUnauthorized, 12},
		{context.Canceled, 130},
		{remote.ErrNotServer, 1},
		{store.ErrExists, 1},
		{hinted(coded(exitBusy, store.ErrCorrupt), "a deliberate code wins"), 11},
		{errors.Join(errors.New("one"), blob.ErrOffline), 5},
	} {
		if got, _ := classify(fmt.Errorf("wrapped: %w", tc.err)); tc.err != nil && got != tc.want {
			t.Errorf("%v: got %d, want %d", tc.err, got, tc.want)
		}
	}
	if got, _ := classify(nil); got != 0 {
		t.Errorf("nil: got %d", got)
	}
}

func TestErrorsAreOneSentenceAndWhatToDo(t *testing.T) {
	e, out, errs := testEnv(t, nil)
	code := e.report(context.Background(), fmt.Errorf("docs: %w", hinted(agent.ErrBusy, "wait\nor do not")))
	if want := "syncfs: docs: busy\nhint: wait\nhint: or do not\n"; code != 11 || errs.String() != want || out.String() != "" {
		t.Errorf("got %d, %q and %q; want %q", code, errs, out, want)
	}
}

func TestErrorsAreJSONWithJSON(t *testing.T) {
	e, out, errs := testEnv(t, nil)
	e.json = true
	e.report(context.Background(), fmt.Errorf("http://h: %w", blob.ErrOffline))
	var got struct {
		Type    string `json:"message_type"`
		Code    int    `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	}
	if err := json.Unmarshal([]byte(errs.String()), &got); err != nil {
		t.Fatalf("%v: %q", err, errs)
	}
	if got.Type != "exit_error" || got.Code != 5 || !strings.Contains(got.Message, "http://h") || got.Hint == "" || out.String() != "" {
		t.Errorf("got %+v and %q", got, out)
	}
}

func TestACommandThatWasInterruptedSaysSo(t *testing.T) {
	e, _, errs := testEnv(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if code := e.report(ctx, errors.New("read tcp: use of closed connection")); code != 130 || errs.String() != "syncfs: interrupted\n" {
		t.Errorf("got %d and %q", code, errs)
	}
}
