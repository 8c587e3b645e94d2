package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

// forgottenRequest names versions that were forgotten on the remote.
type forgottenRequest struct {
	Folder string   `json:"folder"` // id
	IDs    []string `json:"ids"`
}

// Forget forgets on the remote what the plan does not keep, and then here.
func (r *Reader) Forget(ctx context.Context, p upkeep.Plan) error {
	gone := p.Forgotten()
	if len(gone) == 0 {
		return nil
	}
	if err := p.CarryOut(ctx, r.lines); err != nil {
		return err
	}
	if r.client == nil {
		return forgetLocally(r.db.Folder(p.Folder.ID), gone, nil)
	}
	request := forgottenRequest{Folder: p.Folder.ID}
	for id := range gone {
		request.IDs = append(request.IDs, id.String())
	}
	return r.client.post(ctx, "forgotten", request, nil, nil)
}

// Pin keeps a version whatever the rules say.
func (r *Reader) Pin(ctx context.Context, folder string, id chunk.ID) error {
	return r.lines.PutPin(ctx, folder, id, userName()+"@"+hostName())
}

// forgetLocally takes versions out of a folder's database.
func forgetLocally(f *meta.Folder, gone map[chunk.ID]struct{}, notify func([]versions.DirChange)) error {
	list, err := f.Snapshots()
	if err != nil {
		return err
	}
	var found []meta.Snapshot
	for _, m := range list {
		if _, ok := gone[m.ID]; ok {
			found = append(found, m)
		}
	}
	return syncer.ForgetLocally(f, found, notify)
}

func (a *Agent) forgotten(r forgottenRequest) error {
	gone := map[chunk.ID]struct{}{}
	for _, text := range r.IDs {
		id, err := chunk.ParseID(text)
		if err != nil {
			return err
		}
		gone[id] = struct{}{}
	}
	return a.dropForgotten(r.Folder, gone)
}

// dropForgotten takes versions out of the database, and out of .versions/.
func (a *Agent) dropForgotten(folder string, gone map[chunk.ID]struct{}) error {
	var notify func([]versions.DirChange)
	for _, h := range a.allHosts() {
		if s := h.running(); s != nil && h.folder.ID == folder {
			notify = s.NotifyVersions
		}
	}
	return forgetLocally(a.db.Folder(folder), gone, notify)
}

// forgetEvery is how often the agent applies the stored rules, in rounds of
// maintenance.
const forgetEvery = 6

// applyRules forgets what the rules of a folder do not keep.
func (a *Agent) applyRules(ctx context.Context, head line.Folder) error {
	p, err := upkeep.Unattended(ctx, a.lines, head, time.Local)
	if errors.Is(err, upkeep.ErrFlooded) || errors.Is(err, line.ErrDamaged) {
		text := fmt.Sprintf("versions of %s are not thinned: %v", head.Name, err)
		a.log.Warn("versions are not thinned", "folder", head.Name, "err", err)
		a.ops.add(Operation{Time: a.o.Now(), Folder: head.Name, What: "note", Text: text})
		return nil
	}
	gone := p.Forgotten()
	if err != nil || len(gone) == 0 {
		return err
	}
	a.log.Info("versions were forgotten by rule", "folder", head.Name, "versions", len(gone))
	return a.dropForgotten(head.ID, gone)
}
