package agent

import (
	"fmt"
	"testing"
	"time"
)

func TestAReaderThatDoesNotReadHoldsUpNobodyAndIsToldWhatItMissed(t *testing.T) {
	var o operations
	s := o.subscribe(time.Time{})
	defer o.unsubscribe(s)
	const n = subscriberRoom + 1000
	for i := range n {
		o.add(Operation{What: "note", Text: fmt.Sprint(i)}) // would block for ever if it waited
	}
	for i := range subscriberRoom {
		if op := <-s.c; op.Text != fmt.Sprint(i) {
			t.Fatalf("operation %d is %q", i, op.Text)
		}
	}
	if got := o.missed(s); got != n-subscriberRoom {
		t.Errorf("it missed %d, want %d", got, n-subscriberRoom)
	}
	if got := o.missed(s); got != 0 {
		t.Errorf("told twice of %d", got)
	}
	o.add(Operation{What: "last"})
	if op := <-s.c; op.What != "last" {
		t.Errorf("after that came %+v", op)
	}
}

func TestASubscriptionBeginsWithWhatCameSince(t *testing.T) {
	var o operations
	at := time.Date(2025, 1, 31, 20, 15, 0, 0, time.UTC)
	for i := range 10 {
		o.add(Operation{Time: at.Add(time.Duration(i) * time.Minute), Text: fmt.Sprint(i)})
	}
	s := o.subscribe(at.Add(7 * time.Minute))
	if len(s.past) != 3 || s.past[0].Text != "7" {
		t.Errorf("of before it has %+v", s.past)
	}
	if s := o.subscribe(time.Time{}); len(s.past) != 0 {
		t.Errorf("without a time it has %+v", s.past)
	}
}

func TestTheLogKeepsThePathsOfTheNewestOperationsOnly(t *testing.T) {
	var o operations
	for range 5 * keptOperations {
		o.add(Operation{What: "arrived", Files: []FileChange{{Path: "a"}}, Total: 1})
	}
	list := o.newest(0)
	if len(list) != keptOperations {
		t.Fatalf("%d operations are kept", len(list))
	}
	files := 0
	for _, op := range list {
		files += len(op.Files)
		if op.Total != 1 {
			t.Fatalf("%+v", op)
		}
	}
	if files != keptFiles {
		t.Errorf("%d operations have paths, want %d", files, keptFiles)
	}
}
