package main

import (
	"context"
	"errors"
	"time"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/backup"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/oplog"
)

// recordTime is how long a record may take to reach the remote; else it waits
// on this machine for the next.
const recordTime = 10 * time.Second

// record leaves a record of what a command did, whatever came of it. An operation
// that cannot be recorded has been done all the same.
func (e *env) record(ctx context.Context, r *agent.Repository, op oplog.Operation, begun time.Time, err error) {
	dirs, derr := e.dirs()
	if derr != nil {
		return
	}
	op.Time, op.Seconds = begun, e.now().Sub(begun).Seconds()
	op.Host, op.User = agent.Identity()
	op.Result = oplog.Success
	if err != nil {
		op.Result, op.Error = oplog.Failed, sentence(err)
		if code, _ := classify(err); code == exitPartial && !errors.Is(err, backup.ErrNothing) {
			op.Result = oplog.Partial
		}
		if ctx.Err() != nil {
			op.Error = "interrupted"
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if perr := oplog.Put(ctx, r.Remote, r.Keys, agent.OperationsDir(dirs), op); perr != nil && !errors.Is(perr, blob.ErrOffline) {
		e.detail("%v", perr)
	}
}
