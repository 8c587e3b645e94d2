package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/versions"
)

// AbsentFor is how long the base of a machine that does not come back is kept.
const AbsentFor = 180 * 24 * time.Hour

// Conditions that a caller may branch on.
var (
	// ErrKeepsNothing is a retention none of whose rules keeps any version.
	ErrKeepsNothing = errors.New("no rule keeps any version")
	// ErrFlooded is a folder that suddenly gained far more versions than usual.
	ErrFlooded = errors.New("it gained far more versions than usual")
)

// Decision is what a retention says about one version.
type Decision struct {
	ID       chunk.ID
	Number   uint64
	Instant  versions.Instant
	Received time.Time
	Host     string
	User     string
	Tags     []string
	versions.Verdict
}

// Plan is what a retention says about a folder.
type Plan struct {
	Folder line.Folder
	All    []Decision // oldest first
}

// Forgotten are the versions that are not kept.
func (p Plan) Forgotten() map[chunk.ID]struct{} {
	out := map[chunk.ID]struct{}{}
	for _, d := range p.All {
		if !d.Keep {
			out[d.ID] = struct{}{}
		}
	}
	return out
}

// KeepsNothing tells whether no rule keeps any version, so that only the newest,
// and what is pinned or needed, would be left of more.
func (p Plan) KeepsNothing() bool {
	return len(p.Forgotten()) > 0 && !slices.ContainsFunc(p.All, func(d Decision) bool { return d.ByRule })
}

// Decide applies a retention to the versions of a folder and changes nothing.
// Pins, and the bases of machines that were seen within AbsentFor, are kept;
// buckets are those of loc. It fails when any of this cannot be read.
func Decide(ctx context.Context, lines *line.Lines, folder line.Folder, r versions.Retention, loc *time.Location) (Plan, error) {
	p := Plan{Folder: folder}
	policy, err := lines.Policy(ctx, folder.ID)
	if err != nil {
		return p, err
	}
	bases, err := lines.ListBases(ctx, folder.ID)
	if err != nil {
		return p, err
	}
	seen := map[chunk.ID]bool{}
	err = lines.AllRecords(ctx, folder.ID, func(rec line.Recorded) error {
		if seen[rec.SnapshotID] || rec.Number > folder.Number { // the latter came since
			return nil
		}
		seen[rec.SnapshotID] = true
		p.All = append(p.All, Decision{
			ID: rec.SnapshotID, Number: rec.Number, Instant: rec.Instant, Received: rec.Received,
			Host: rec.Host, User: rec.User, Tags: rec.Tags,
		})
		return nil
	})
	if err != nil {
		return p, err
	}
	slices.SortStableFunc(p.All, func(a, b Decision) int { return a.Received.Compare(b.Received) })
	// The head's is the newest whatever came beside it.
	if i := slices.IndexFunc(p.All, func(d Decision) bool { return d.ID == folder.Snapshot }); i >= 0 {
		head := p.All[i]
		p.All = append(slices.Delete(p.All, i, i+1), head)
	} else if !folder.Snapshot.IsZero() {
		return p, fmt.Errorf("folder %q: the record of its newest version %v is missing: %w", folder.Name, folder.Instant, line.ErrDamaged)
	}
	stamps := make([]versions.Stamp, len(p.All))
	at := map[chunk.ID]int{}
	for i, d := range p.All {
		stamps[i] = versions.Stamp{Received: d.Received, Tags: d.Tags}
		at[d.ID] = i
	}
	for _, pin := range policy.Pins {
		if i, ok := at[pin.Snapshot]; ok {
			stamps[i].Pinned = true
		}
	}
	for _, b := range bases {
		i, ok := at[b.Snapshot]
		if ok && folder.Received.Sub(b.Put) <= AbsentFor && i < len(stamps)-1 {
			stamps[i].Bases = append(stamps[i].Bases, b.Host)
		}
	}
	for i, v := range r.Apply(stamps, loc) {
		p.All[i].Verdict = v
	}
	return p, nil
}

// CarryOut forgets what a plan does not keep.
func (p Plan) CarryOut(ctx context.Context, lines *line.Lines) error {
	return lines.Forget(ctx, p.Folder.ID, p.Forgotten())
}

// DefaultRules are what a folder of a kind has while nobody has said anything:
// a synced folder is thinned, all others keep everything.
func DefaultRules(kind string) versions.Retention {
	if kind == "sync" {
		return versions.DefaultRetention()
	}
	return versions.Retention{}
}

// Unattended is a run that nobody watches: the folder's stored rules, or the
// default of its kind. It thins by time alone, and leaves a folder be that
// suddenly gained many versions (ErrFlooded): somebody may want to push the good
// ones out. The plan that it returns was carried out; an empty one if there was
// nothing to do.
func Unattended(ctx context.Context, lines *line.Lines, folder line.Folder, loc *time.Location) (Plan, error) {
	policy, err := lines.Policy(ctx, folder.ID)
	if err != nil {
		return Plan{}, err
	}
	rules := policy.Rules
	if !policy.Set {
		rules = DefaultRules(folder.Kind)
	}
	if rules.IsZero() || !rules.ByTime() {
		return Plan{}, nil
	}
	p, err := Decide(ctx, lines, folder, rules, loc)
	if err != nil || len(p.Forgotten()) == 0 || p.KeepsNothing() {
		return Plan{}, err
	}
	received := make([]time.Time, len(p.All))
	for i, d := range p.All {
		received[i] = d.Received
	}
	if flooded, now, usual := versions.Flooded(received); flooded {
		return Plan{}, fmt.Errorf("%w: %d in a day, usually %d", ErrFlooded, now, usual)
	}
	return p, p.CarryOut(ctx, lines)
}
