package agent

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// wireSnapshot is a snapshot on the control socket.
type wireSnapshot struct {
	ID       string `json:"id"`
	Number   uint64 `json:"number,omitempty"`
	Received int64  `json:"received,omitempty"`
	Record   []byte `json:"record"` // versions.Snapshot.Encode
}

// wireMoments are the moments of a directory on the control socket.
type wireMoments struct {
	Complete bool         `json:"complete"`
	Moments  []wireMoment `json:"moments"`
}

type wireMoment struct {
	Instant string `json:"instant"`
	Tree    string `json:"tree,omitempty"`
	Gone    bool   `json:"gone,omitempty"`
}

// pastOf is the past of a folder, here or not: for one that is not on this
// machine its records are read from the remote first.
func (a *Agent) pastOf(ctx context.Context, id string) (past, error) {
	f := a.db.Folder(id)
	for _, h := range a.allHosts() {
		if h.folder.ID == id {
			return databasePast{f}, nil
		}
	}
	err := syncer.LoadHistory(ctx, a.lines, a.store, f, id, nil)
	if err != nil && !isOffline(err) {
		return nil, err
	}
	if err != nil {
		if _, none := f.SnapshotAt(zeroInstant); none != nil {
			return nil, err
		}
	}
	return databasePast{f}, a.refresh(ctx)
}

// refresh brings the index in step with what other machines have added.
func (a *Agent) refresh(ctx context.Context) error {
	if err := a.store.Refresh(ctx); err != nil && !isOffline(err) {
		return err
	}
	return nil
}

func (a *Agent) serveSnapshots(ctx context.Context, r *http.Request) (any, error) {
	p, err := a.pastOf(ctx, r.FormValue("folder"))
	if err != nil {
		return nil, err
	}
	list, err := p.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]wireSnapshot, len(list))
	for i, s := range list {
		out[i] = wireSnapshot{ID: s.ID.String(), Number: s.Number, Received: s.Received, Record: s.Record.Encode()}
	}
	return out, nil
}

func (a *Agent) serveMoments(ctx context.Context, r *http.Request) (any, error) {
	p, err := a.pastOf(ctx, r.FormValue("folder"))
	if err != nil {
		return nil, err
	}
	list, complete, err := p.moments(ctx, r.FormValue("dir"))
	if err != nil {
		return nil, err
	}
	out := wireMoments{Complete: complete, Moments: make([]wireMoment, len(list))}
	for i, m := range list {
		out.Moments[i] = wireMoment{Instant: m.Instant.String(), Tree: m.Tree.String(), Gone: m.Gone}
	}
	return out, nil
}

// serveChunk gives a command's process a chunk that only our spool has.
func (a *Agent) serveChunk(w http.ResponseWriter, r *http.Request) {
	id, err := chunk.ParseID(r.FormValue("id"))
	kind, kerr := strconv.ParseUint(r.FormValue("kind"), 10, 8)
	if err != nil || kerr != nil {
		http.Error(w, "which chunk?", http.StatusBadRequest)
		return
	}
	data, err := a.store.Get(r.Context(), chunk.Kind(kind), id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // a client that went away wants nothing more
}

// agentPast is past from the running agent.
type agentPast struct {
	c  *Client
	id string
}

func (p agentPast) snapshots(ctx context.Context) ([]meta.Snapshot, error) {
	var list []wireSnapshot
	if err := p.c.get(ctx, "snapshots", url.Values{"folder": {p.id}}, &list); err != nil {
		return nil, err
	}
	out := make([]meta.Snapshot, len(list))
	for i, s := range list {
		id, err := chunk.ParseID(s.ID)
		if err != nil {
			return nil, err
		}
		record, err := versions.DecodeSnapshot(s.Record)
		if err != nil {
			return nil, err
		}
		out[i] = meta.Snapshot{ID: id, Number: s.Number, Received: s.Received, Record: record}
	}
	return out, nil
}

func (p agentPast) snapshotAt(ctx context.Context, at versions.Instant) (meta.Snapshot, error) {
	list, err := p.snapshots(ctx)
	if err != nil {
		return meta.Snapshot{}, err
	}
	return newestAt(list, at)
}

func (p agentPast) moments(ctx context.Context, dir string) ([]meta.Moment, bool, error) {
	var m wireMoments
	if err := p.c.get(ctx, "moments", url.Values{"folder": {p.id}, "dir": {dir}}, &m); err != nil {
		return nil, false, err
	}
	out := make([]meta.Moment, len(m.Moments))
	for i, w := range m.Moments {
		at, err := versions.ParseInstant(w.Instant)
		if err != nil {
			return nil, false, err
		}
		tree, err := chunk.ParseID(w.Tree)
		if err != nil {
			return nil, false, err
		}
		out[i] = meta.Moment{Instant: at, Tree: tree, Gone: w.Gone}
	}
	return out, m.Complete, nil
}

// chunk asks the agent for a chunk.
func (c *Client) chunk(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	q := url.Values{"kind": {strconv.Itoa(int(kind))}, "id": {id.String()}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/chunk?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the agent does not have it: %s", data)
	}
	return data, err
}
