package main

import (
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/oplog"
)

func TestAReportCountsByResult(t *testing.T) {
	at := time.Date(2025, 1, 31, 20, 0, 0, 0, time.UTC)
	var list []oplog.Operation
	add := func(host, what, result string, bytes int64) {
		at = at.Add(time.Minute)
		list = append(list, oplog.Operation{Time: at, Host: host, What: what, Result: result, Bytes: bytes})
	}
	add("a", oplog.Backup, oplog.Success, 10)
	add("a", oplog.Backup, oplog.Failed, 1000)
	add("b", oplog.Backup, oplog.Partial, 100)
	add("b", oplog.Backup, oplog.Success, 1)
	add("b", oplog.Restore, oplog.Failed, 5)
	for range 7 {
		add("b", oplog.Check, oplog.Success, 0)
	}
	r := gather(list)
	if r.Backups != (tally{Successful: 2, Partial: 1, Failed: 1, Bytes: 111}) || r.Restores != (tally{Failed: 1}) || r.Checks.Successful != 7 {
		t.Errorf("%+v", r)
	}
	if r.Rate == nil || *r.Rate != 50 {
		t.Errorf("rate %v", r.Rate)
	}
	if len(r.Last) != lastShown || r.Last[0].Result != oplog.Partial {
		t.Errorf("last: %d, from %+v", len(r.Last), r.Last[0])
	}
	if len(r.Machines) != 2 || r.Machines[0].Success != "2025-01-31T20:01:00Z" || r.Machines[1].Success != "2025-01-31T20:04:00Z" {
		t.Errorf("machines: %+v", r.Machines)
	}
	if none := gather(nil); none.Rate != nil || none.Last == nil {
		t.Errorf("of nothing: %+v", none)
	}
}
