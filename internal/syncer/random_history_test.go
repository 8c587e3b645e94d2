//go:build linux

package syncer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/tests/sequence"
	"github.com/syncfs/syncfs/versions"
)

// objects counts what is on the remote, but for the bases that machines announce.
func (w *world) objects() (n int) {
	w.t.Helper()
	err := w.mem.List(context.Background(), "", "", func(i blob.Info) error {
		if !strings.HasPrefix(i.Name, "bases/") {
			n++
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// changes shows how two trees differ.
func (p *play) changes(old, new versions.Entry) string {
	var out strings.Builder
	err := p.m[0].run.trees.Diff(context.Background(), old, new, func(c versions.Change) error {
		fmt.Fprintf(&out, "  %q: %s -> %s\n", c.Path, brief(c.Old), brief(c.New))
		return nil
	})
	if err != nil {
		p.t.Errorf("%v", err)
	}
	return out.String()
}

func brief(e *versions.Entry) string {
	if e == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v %o %s %d bytes xattrs %d link %x", e.Kind, e.Mode, time.Unix(0, e.MTime).UTC().Format("05.000000000"), e.Size, len(e.Xattrs), e.Link[:2])
}

// history looks through all snapshots: nothing is lost, nothing in them was
// never written, and every machine knows them all.
func (p *play) history() {
	found := map[string]bool{}
	texts := map[[32]byte]string{}
	r := p.m[0].run
	records := p.w.records()
	for _, rec := range records {
		err := r.trees.Walk(context.Background(), rec.Root, func(path string, e versions.Entry) error {
			text := "-> " + e.Target
			switch e.Kind {
			case versions.Dir:
				return nil
			case versions.File:
				hash := versions.ContentHash(e)
				if _, ok := texts[hash]; !ok {
					var b strings.Builder
					c, err := r.contents.Open(context.Background(), e)
					if err != nil {
						return fmt.Errorf("%s: %w", path, err)
					}
					_, err = c.WriteTo(&b)
					c.Close()
					if err != nil {
						return fmt.Errorf("%s: %w", path, err)
					}
					texts[hash] = b.String()
				}
				text = texts[hash]
			}
			found[text] = true
			if p.l.Invented(text) && !e.Unstable {
				p.t.Errorf("snapshot %s of %s: %q holds what nobody wrote: %d bytes, %.40q", rec.Instant, rec.Host, path, len(text), text)
			}
			return nil
		})
		if err != nil {
			p.t.Errorf("snapshot %s cannot be read: %v", rec.Instant, err)
		}
	}
	for _, text := range sequence.Texts(sequence.TreeOf(p.m[0].dir)) {
		found[text] = true
	}
	if lost := p.l.Lost(found); len(lost) > 0 {
		p.t.Errorf("%s", strings.Join(lost, "\n"))
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		why := ""
		for _, m := range p.m {
			why += p.unknown(m, records)
		}
		if why == "" {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("%s", why)
		}
	}
}

// unknown tells of a snapshot that a machine does not know, or knows alone.
func (p *play) unknown(m *player, records []line.Recorded) string {
	list, err := m.run.history.Snapshots()
	p.check(err)
	for _, rec := range records {
		if !slices.ContainsFunc(list, func(s meta.Snapshot) bool { return s.ID == rec.SnapshotID }) {
			return fmt.Sprintf("%s does not know snapshot %s of %s (number %d of %d, parents %d)", m.name, rec.Instant, rec.Host, rec.Number, p.w.head().Number, len(rec.Parents))
		}
	}
	if len(list) > len(records) {
		return fmt.Sprintf("%s knows %d snapshots, there are %d", m.name, len(list), len(records))
	}
	return ""
}
