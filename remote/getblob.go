package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// getBlob answers GET and HEAD of an object.
func (s *Server) getBlob(w http.ResponseWriter, r *http.Request) error {
	name, err := object(r)
	if err != nil {
		return err
	}
	info, err := s.o.Store.Stat(r.Context(), name)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Last-Modified", info.Modified.UTC().Format(http.TimeFormat))
	h.Set(headerModified, info.Modified.UTC().Format(time.RFC3339Nano))
	if r.Method == http.MethodHead {
		h.Set("Content-Length", strconv.FormatInt(info.Size, 10))
		w.WriteHeader(http.StatusOK)
		return nil
	}
	offset, length, whole, ok := parseRange(r.Header.Get("Range"), info.Size)
	if !ok {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", info.Size))
		return refuse(codeRange, "%s: has %d bytes", name, info.Size)
	}
	if whole {
		return s.sendWhole(w, r, info)
	}
	body, err := s.o.Store.Get(r.Context(), name, offset, length)
	if err != nil {
		return err
	}
	defer body.Close()
	h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, info.Size))
	return s.send(w, http.StatusPartialContent, name, body, length)
}

// sendWhole sends an object with its digest in the header. What does not fit
// into memory is read twice for that, the first time.
func (s *Server) sendWhole(w http.ResponseWriter, r *http.Request, info blob.Info) error {
	if info.Size > smallPut {
		sum, err := s.digestOf(r.Context(), info)
		if err != nil {
			return err
		}
		body, err := s.o.Store.Get(r.Context(), info.Name, 0, -1)
		if err != nil {
			return err
		}
		defer body.Close()
		w.Header().Set(headerDigest, sum.String())
		return s.send(w, http.StatusOK, info.Name, body, info.Size)
	}
	if err := s.buffers.Acquire(r.Context(), info.Size); err != nil {
		return err
	}
	defer s.buffers.Release(info.Size)
	body, err := s.o.Store.Get(r.Context(), info.Name, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	data := make([]byte, info.Size)
	if _, err := io.ReadFull(body, data); err != nil {
		return fmt.Errorf("read %s: %w", info.Name, err)
	}
	w.Header().Set(headerDigest, digest(sha256.Sum256(data)).String())
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.o.Limits.Stall))
	w.Write(data) // an error shows at the client
	return nil
}

func (s *Server) send(w http.ResponseWriter, status int, name string, body io.Reader, size int64) error {
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(status)
	if err := copySteadily(w, body, size, s.o.Limits.Stall); err != nil {
		return fmt.Errorf("send %s: %w", name, err)
	}
	return nil
}

func (s *Server) deleteBlob(w http.ResponseWriter, r *http.Request) error {
	name, err := object(r)
	if err != nil {
		return err
	}
	if err := s.o.Store.Delete(r.Context(), name); err != nil {
		return err
	}
	s.done(r, "delete", name, 0)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// errPage ends a listing that has filled its page.
var errPage = errors.New("page is full")

func (s *Server) listBlobs(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	limit := listPage
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return refuse(codeBadRequest, "limit: not a number above 0")
		}
		limit = min(n, listPageMax)
	}
	prefix, after := query.Get("prefix"), query.Get("after")
	if len(prefix) > 255 || len(after) > 255 {
		return refuse(codeBadRequest, "prefix and after are at most 255 bytes")
	}
	page, err := s.list(r.Context(), prefix, after, limit)
	if err != nil {
		return err
	}
	return writeJSON(w, page)
}

func (s *Server) list(ctx context.Context, prefix, after string, limit int) (wireList, error) {
	page := wireList{Objects: []wireInfo{}}
	err := s.o.Store.List(ctx, prefix, after, func(info blob.Info) error {
		if len(page.Objects) == limit {
			page.Next = page.Objects[limit-1].Name
			return errPage
		}
		page.Objects = append(page.Objects, wireInfo{Name: info.Name, Size: info.Size, Modified: info.Modified.UTC()})
		return nil
	})
	if errors.Is(err, errPage) {
		err = nil
	}
	return page, err
}
