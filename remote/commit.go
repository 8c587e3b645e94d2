package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

func (s *Server) listHeads(w http.ResponseWriter, r *http.Request) error {
	heads, err := s.o.Store.ListHeads(r.Context())
	if err != nil {
		return err
	}
	list := wireHeads{Heads: make([]wireHead, 0, len(heads))}
	for _, h := range heads {
		list.Heads = append(list.Heads, toWireHead(h))
	}
	return writeJSON(w, list)
}

func (s *Server) getHead(w http.ResponseWriter, r *http.Request) error {
	folder, err := folderOf(r)
	if err != nil {
		return err
	}
	head, err := s.o.Store.Head(r.Context(), folder)
	if err != nil {
		return err
	}
	return writeJSON(w, toWireHead(head))
}

// commit carries out a small round: blobs, record, head.
func (s *Server) commit(w http.ResponseWriter, r *http.Request) error {
	folder, err := folderOf(r)
	if err != nil {
		return err
	}
	size := r.ContentLength
	if size < 0 {
		return refuse(codeBadRequest, "a commit needs a Content-Length")
	}
	if size > commitLimit {
		return refuse(codeTooLarge, "a commit of %d bytes; the most is %d", size, commitLimit)
	}
	if err := s.buffers.Acquire(r.Context(), size); err != nil {
		return err
	}
	defer s.buffers.Release(size)
	body := make([]byte, size)
	if err := readBody(newSteadyBody(w, r, s.o.Limits.Stall), body); err != nil {
		return err
	}
	c, err := decodeCommit(body)
	if err != nil {
		return err
	}
	role := infoOf(r).token.Role
	for _, b := range c.Blobs {
		if !role.mayPut(b.Name) {
			return s.forbid(r, "a key with the role %s may not put %s", role, b.Name)
		}
	}
	if left, held := s.turns.heldByOther(folder, r.Header.Get(headerTurn)); held {
		a := refuse(codeTurn, "%s: another client has its turn", folder)
		a.retryAfter = min(left, time.Second)
		return a
	}
	head, err := s.carryOut(r, folder, c)
	if errors.Is(err, blob.ErrMoved) {
		return s.moved(r.Context(), folder)
	}
	if err != nil {
		return err
	}
	s.turns.end(folder, r.Header.Get(headerTurn))
	s.done(r, "commit", folder, size)
	return writeJSON(w, toWireHead(head))
}

// carryOut commits and publishes. Commits of one folder wait for each other
// here, so that subscribers see them in order.
func (s *Server) carryOut(r *http.Request, folder string, c blob.Commit) (blob.Head, error) {
	ctx, cancel := s.detached(r)
	defer cancel()
	unlock := s.folders.lock(folder)
	defer unlock()
	head, err := s.o.Store.Commit(ctx, folder, c)
	if err != nil {
		return blob.Head{}, err
	}
	if err := s.hub.publish(head, c); err != nil {
		// The commit stands; who watches learns of it by reading the heads.
		s.log.Error("event", "folder", folder, "error", err)
	}
	return head, nil
}

// moved is the answer to a commit that lost, with the head as it is now.
func (s *Server) moved(ctx context.Context, folder string) error {
	a := refuse(codeMoved, "%s: %s", folder, blob.ErrMoved)
	head, err := s.o.Store.Head(ctx, folder)
	switch {
	case err == nil:
		now := toWireHead(head)
		a.Head = &now
	case !errors.Is(err, fs.ErrNotExist): // there may be none, when one was expected
		return fmt.Errorf("head of %s: %w", folder, err)
	}
	return a
}

func (s *Server) takeTurn(w http.ResponseWriter, r *http.Request) error {
	folder, err := folderOf(r)
	if err != nil {
		return err
	}
	period := turnTime
	if text := r.URL.Query().Get("seconds"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || !(seconds > 0) {
			return refuse(codeBadRequest, "seconds: not a number above 0")
		}
		period = time.Duration(min(seconds, turnTime.Seconds()) * float64(time.Second))
	}
	id, left, ok := s.turns.take(folder, period)
	if !ok {
		a := refuse(codeTurn, "%s: another client has its turn", folder)
		a.retryAfter = left
		return a
	}
	s.done(r, "turn", folder, 0)
	return writeJSON(w, wireTurn{Turn: id, Seconds: left.Seconds()})
}

func (s *Server) endTurn(w http.ResponseWriter, r *http.Request) error {
	folder, err := folderOf(r)
	if err != nil {
		return err
	}
	s.turns.end(folder, r.Header.Get(headerTurn))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) operations(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	limit, err := number(query.Get("limit"), 100)
	if err != nil || limit < 1 {
		return refuse(codeBadRequest, "limit: not a number above 0")
	}
	after, err := number(query.Get("after"), 0)
	if err != nil {
		return refuse(codeBadRequest, "after: not a number")
	}
	list := s.o.Operations.list(uint64(after), min(limit, operationsKept))
	return writeJSON(w, struct {
		Operations []Operation `json:"operations"`
	}{list})
}

func number(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}
