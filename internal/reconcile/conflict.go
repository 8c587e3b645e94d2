package reconcile

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

const (
	maxCopyName = 255 // bytes: what every disk takes
	maxExt      = 32  // longer is no extension
	maxHost     = 64
)

// CopyName is STEM (conflict HOST INSTANT HASH).EXT for the content that stood
// under name: at most 255 bytes, cut between characters. A name that is one of
// a conflict copy already gives no second bracket. digits is how much of the
// content's hash is told, 8 but where that name is taken.
func CopyName(name, host string, instant versions.Instant, content [32]byte, digits int) string {
	stem, ext := splitName(name)
	middle := fmt.Sprintf(" (conflict %s %s %s)", CleanHost(host), instant, hex.EncodeToString(content[:])[:digits])
	return cutName(stem, maxCopyName-len(middle)-len(ext)) + middle + ext
}

var copyPattern = regexp.MustCompile(`(?s)^(.+) \(conflict (.*) (\d{8}_\d{6}(?:_\d{2,})?) ([0-9a-f]{8,64})\)$`)

// splitName splits into what comes before and after the place of the bracket.
func splitName(name string) (stem, ext string) {
	stem = name
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= maxExt && !strings.HasSuffix(name, ")") {
		stem, ext = name[:i], name[i:]
	}
	if m := copyPattern.FindStringSubmatch(stem); m != nil {
		stem = m[1]
	}
	return stem, ext
}

// Copy is what the name of a conflict copy tells.
type Copy struct {
	Of      string // the name that both contents had; its stem may have been cut
	Cut     bool   // it may have been
	Host    string // that wrote the content, as CleanHost spells it
	Instant versions.Instant
	Hash    string // the first digits of the content's
}

// ParseCopy reads a name that CopyName made.
func ParseCopy(name string) (c Copy, ok bool) {
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 && len(name)-i <= maxExt && !strings.HasSuffix(name, ")") {
		stem, ext = name[:i], name[i:]
	}
	m := copyPattern.FindStringSubmatch(stem)
	if m == nil {
		return Copy{}, false
	}
	at, err := versions.ParseInstant(m[3])
	if err != nil {
		return Copy{}, false
	}
	cut := len(name) > maxCopyName-utf8.UTFMax
	return Copy{Of: m[1] + ext, Cut: cut, Host: m[2], Instant: at, Hash: m[4]}, true
}

// IsCopy tells whether name is one that CopyName makes, and of which name.
func IsCopy(name string) (of string, ok bool) {
	c, ok := ParseCopy(name)
	return c.Of, ok
}

// Belongs tells whether a conflict copy whose name was cut may be one of name.
func (c Copy) Belongs(name string) bool {
	if _, copied := ParseCopy(name); copied {
		return false
	}
	ofStem, ofExt := splitName(c.Of)
	stem, ext := splitName(name)
	return ext == ofExt && (stem == ofStem || c.Cut && strings.HasPrefix(stem, ofStem))
}

// OrdinaryName is a name for a conflict copy that stays beside the file that it
// was in conflict with: STEM (HOST INSTANT).EXT, with the hash where digits says
// so.
func (c Copy) OrdinaryName(digits int) string {
	stem, ext := splitName(c.Of)
	middle := fmt.Sprintf(" (%s %s)", c.Host, c.Instant)
	if digits > 0 {
		middle = fmt.Sprintf(" (%s %s %s)", c.Host, c.Instant, c.Hash[:min(digits, len(c.Hash))])
	}
	return cutName(stem, maxCopyName-len(middle)-len(ext)) + middle + ext
}

// cutName cuts to n bytes, not inside a character.
func cutName(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > max(0, n-utf8.UTFMax); i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n] // not UTF-8
}

// CleanHost is a host's name without what has no place in a file's.
func CleanHost(host string) string {
	host = strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|()`, r) || r == utf8.RuneError || r == 0x7f {
			return '_'
		}
		return r
	}, host)
	if host == "" {
		return "unknown"
	}
	return cutName(host, maxHost)
}

// copyPlace is where a conflict copy stands.
type copyPlace struct {
	name  string
	known bool // it stands there already
}

// conflict plans the copy of local content that makes room for the remote's.
func (m *merger) conflict(d dir, name string, l *versions.Entry, path string) error {
	c, err := m.copyName(d, name, l, true)
	if err != nil {
		return err
	}
	e := *l
	e.Name, e.Link = c.name, [16]byte{} // no link of what keeps the name
	to := d.join(c.name)
	m.plan.Conflicts = append(m.plan.Conflicts, Conflict{Path: path, Copy: to, Entry: e, Known: c.known})
	if c.known {
		return nil
	}
	d.added[c.name] = e
	whole := e.Kind == versions.Dir
	m.plan.Apply = append(m.plan.Apply, Step{Path: to, New: &e, Whole: whole, From: path})
	m.plan.Commit = append(m.plan.Commit, Step{Path: to, New: &e, Whole: whole})
	return nil
}

// copyName finds the name for a copy of l: one under which its content will
// stand anyway, if reuse allows, or a new one.
func (m *merger) copyName(d dir, name string, l *versions.Entry, reuse bool) (copyPlace, error) {
	hash := versions.ContentHash(*l)
	if reuse {
		known, err := m.knownCopy(d, name, l, hash)
		if err != nil || known != "" {
			return copyPlace{name: known, known: true}, err
		}
	}
	host, instant := m.o.Host, m.o.Instant
	if m.o.Origin != nil {
		host, instant = m.o.Origin(d.join(name))
	}
	for digits := 8; digits <= 64; digits += 8 {
		candidate := CopyName(name, host, instant, hash, digits)
		free, err := m.free(d, candidate)
		if err != nil {
			return copyPlace{}, err
		}
		if free {
			return copyPlace{name: candidate}, nil
		}
	}
	return copyPlace{}, fmt.Errorf("conflict copy of %q: every name is taken", d.join(name))
}

// free tells whether no side has name, nor a copy made before.
func (m *merger) free(d dir, name string) (bool, error) {
	if _, ok := d.added[name]; ok {
		return false, nil
	}
	for _, listing := range []chunk.ID{d.local, d.remote} {
		e, err := m.lookup(listing, name)
		if err != nil || e != nil {
			return false, err
		}
	}
	return true, nil
}

func (m *merger) lookup(listing chunk.ID, name string) (*versions.Entry, error) {
	e, err := m.r.Lookup(m.ctx, listing, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &e, nil
}

// knownCopy is a conflict copy of name that holds l's content already and will
// still do so after this merge: another machine had the same content, or this
// merge is made again after a crash.
func (m *merger) knownCopy(d dir, name string, l *versions.Entry, hash [32]byte) (string, error) {
	stem, ext := splitName(name)
	tail := " " + hex.EncodeToString(hash[:])[:8]
	matches := func(e versions.Entry) bool {
		of, ok := IsCopy(e.Name)
		if !ok || !strings.Contains(e.Name, tail) || !versions.SameContent(e, *l) {
			return false
		}
		ofStem, ofExt := splitName(of)
		return ofExt == ext && strings.HasPrefix(stem, ofStem)
	}
	for _, e := range d.added {
		if matches(e) {
			return e.Name, nil
		}
	}
	// Long stems were cut, so that names are looked for by what is left of
	// the stem at least.
	prefix := cutName(stem, maxCopyName-len(" (conflict ")-maxHost-len("20060102_150405_000000000")-64-maxExt-4)
	for _, listing := range []chunk.ID{d.remote, d.local} {
		var names []string
		err := m.r.List(m.ctx, listing, prefix, func(e versions.Entry) error {
			if !strings.HasPrefix(e.Name, prefix) {
				return fs.SkipAll
			}
			if matches(e) {
				names = append(names, e.Name)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
		for _, n := range names {
			stays, err := m.stays(d, n, l)
			if err != nil || stays {
				return n, err
			}
		}
	}
	return "", nil
}

// stays tells whether name will hold l's content after the merge of d.
func (m *merger) stays(d dir, name string, l *versions.Entry) (bool, error) {
	base, err := m.lookup(d.base, name)
	if err != nil {
		return false, err
	}
	local, err := m.lookup(d.local, name)
	if err != nil {
		return false, err
	}
	remote, err := m.lookup(d.remote, name)
	if err != nil {
		return false, err
	}
	after := remote
	switch {
	case equal(local, remote), equal(base, local):
	case equal(base, remote), remote == nil:
		after = local
	}
	return after != nil && versions.SameContent(*after, *l), nil
}
