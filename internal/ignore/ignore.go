// Package ignore decides by rules which names are not taken into a folder. The
// rules are gitignore's, to the letter: in files that may lie in any directory,
// of which the deepest that says anything about a name decides, and in it the
// last line. What is in an ignored directory is ignored; no rule brings it back.
//
// It is pure: who reads the files is the caller. Names are bytes, and case
// counts, as in git without core.ignoreCase.
package ignore

import (
	"bytes"
	"fmt"
	"strings"
)

// Name is the file that holds the rules of its directory and of all below.
const Name = ".syncfsignore"

// MaxFile bounds what is read of one file of rules.
const MaxFile = 1 << 20

// Rule is one line of a file.
type Rule struct {
	Source  string // path of the file in the folder; BuiltinSource
	Line    int    // from 1
	Text    string // as it stands there
	Negated bool   // a name that matches is taken

	dirOnly bool
	base    bool // matches the last name alone, in any directory
	literal string
	rest    matcher // what follows literal; nil: nothing may
}

// String is where the rule stands and what it says.
func (r *Rule) String() string {
	if r.Source == BuiltinSource {
		return r.Source + ": " + r.Text
	}
	return fmt.Sprintf("%s:%d: %s", r.Source, r.Line, r.Text)
}

// File is the rules of one file; nil has none.
type File struct{ rules []*Rule }

// Parse reads a file of rules. Every content is one: a line that is no pattern
// matches nothing.
func Parse(source string, data []byte) *File {
	f := &File{}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	for line := 1; len(data) > 0; line++ {
		text, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		if r := parseLine(string(text)); r != nil {
			r.Source, r.Line = source, line
			f.rules = append(f.rules, r)
		}
	}
	return f
}

// parseLine reads one line; nil when it is empty or a comment.
func parseLine(text string) *Rule {
	if text == "" || text[0] == '#' {
		return nil
	}
	text, _, _ = strings.Cut(strings.TrimSuffix(text, "\r"), "\x00")
	text = trimSpaces(text)
	if text == "" {
		return nil
	}
	r := &Rule{Text: text}
	p := text
	if p[0] == '!' {
		r.Negated, p = true, p[1:]
	}
	if strings.HasSuffix(p, "/") {
		r.dirOnly, p = true, p[:len(p)-1]
	}
	r.base = !strings.Contains(p, "/")
	if !r.base {
		p = strings.TrimPrefix(p, "/")
	}
	// What comes before the first special character is compared as it is. It is
	// no part of the pattern any more, so that "a**/b" begins with two stars.
	i := strings.IndexAny(p, special)
	switch {
	case i < 0:
		r.literal = p
	case r.base:
		r.rest = compile(p, false)
	default:
		r.literal, r.rest = p[:i], compile(p[i:], true)
	}
	return r
}

// trimSpaces removes spaces at the end but for those after a backslash.
func trimSpaces(s string) string {
	end := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ' ':
			continue
		case '\\':
			if i++; i == len(s) {
				return s
			}
		}
		end = i + 1
	}
	return s[:end]
}

// match tells whether the rule is about a path, relative to its file, whose last
// part is name.
func (r *Rule) match(path, name string, dir bool) bool {
	if r.dirOnly && !dir {
		return false
	}
	if r.base {
		path = name
	}
	rest, ok := strings.CutPrefix(path, r.literal)
	switch {
	case !ok:
		return false
	case r.rest == nil:
		return rest == ""
	}
	return r.rest.match(rest)
}

// last is the last rule about a path, relative to the file; nil: there is none.
func (f *File) last(path, name string, dir bool) *Rule {
	if f == nil {
		return nil
	}
	for i := len(f.rules) - 1; i >= 0; i-- {
		if f.rules[i].match(path, name, dir) {
			return f.rules[i]
		}
	}
	return nil
}

// Rules are those that hold in one directory. They never change; nil has none.
type Rules struct {
	above *Rules
	dir   string // the directory, from the root
	file  *File
	out   *Rule // by which the directory itself is ignored
}

// In are the rules in a folder's root: first is asked last (the built-in ones).
func In(first, root *File) *Rules {
	return &Rules{above: &Rules{file: first}, file: root}
}

// Below are the rules in the directory name, without those of its own file.
func (r *Rules) Below(name string) *Rules {
	b := &Rules{above: r, dir: join(r.dir, name), out: r.out}
	if rule := r.Match(name, true); b.out == nil && rule != nil && !rule.Negated {
		b.out = rule
	}
	return b
}

// With are these rules and those of the directory's own file. In an ignored
// directory it says nothing.
func (r *Rules) With(own *File) *Rules {
	if own == nil || r.out != nil {
		return r
	}
	return &Rules{above: r.above, dir: r.dir, file: own}
}

// Out is the rule by which the whole directory is ignored, nil where it is not.
func (r *Rules) Out() *Rule { return r.out }

// Match is the rule that decides about a name in the directory, nil when there
// is none. It may be negated. In an ignored directory it is that by which the
// directory is.
func (r *Rules) Match(name string, dir bool) *Rule {
	if r.out != nil {
		return r.out
	}
	path := join(r.dir, name)
	for ; r != nil; r = r.above {
		rel := path
		if r.dir != "" {
			rel = path[len(r.dir)+1:]
		}
		if rule := r.file.last(rel, name, dir); rule != nil {
			return rule
		}
	}
	return nil
}

// Ignored is the rule by which a name is not taken, nil when it is. A file of
// rules is taken wherever its directory is: its rules are for every machine.
func (r *Rules) Ignored(name string, dir bool) *Rule {
	rule := r.Match(name, dir)
	if rule == nil || rule.Negated || name == Name && r.out == nil {
		return nil
	}
	return rule
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// For is a line that ignores path, from the root, and nothing else. There is
// none for a name with a line break.
func For(path string) (string, error) {
	if strings.ContainsAny(path, "\n\r") {
		return "", fmt.Errorf("%q: no rule can name a path with a line break", path)
	}
	var b strings.Builder
	b.WriteByte('/')
	for i := 0; i < len(path); i++ {
		if c := path[i]; strings.IndexByte(special, c) >= 0 || c == ' ' && i == len(path)-1 {
			b.WriteByte('\\')
		}
		b.WriteByte(path[i])
	}
	return b.String(), nil
}
