package sequence

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// Op is one thing that happens to one of the machines, or around them.
type Op struct {
	Machine int
	What    string
	Path    string
	Other   string
	N       int
}

// paths are few, so that work collides; some are hard to tell apart, to keep or
// to copy.
var paths = []string{
	"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a",
	"A",                 // another file than a
	"\u00e9", "e\u0301", // one letter, two spellings
	strings.Repeat("n", 251) + ".txt",
	"new\nline", ".hidden", "bytes\xfe",
	"a (conflict m1 20250101_000000 0123abcd)",
}

// Work are the operations on files, by how often they are drawn.
const Work = "write write write write write append append overwrite truncate save save " +
	"remove remove rmtree rename rename rename swap mkdir chmod touch xattr symlink link todir tofile hold release " +
	"race race race race same "

// races are what two machines do to one path at the same time.
var races = []string{
	"write write", "append save", "save overwrite", "write remove", "remove append", "rename write", "append rename",
	"write chmod", "touch save", "todir write", "write todir", "write rmtree", "symlink write", "rename rename", "xattr chmod",
}

// uniform is 0 to n-1. It is drawn bit by bit: rapid likes small numbers, which
// here would be the same few operations again and again.
func uniform(t *rapid.T, n int, label string) int {
	v := 0
	for _, bit := range rapid.SliceOfN(rapid.Bool(), 12, 12).Draw(t, label) {
		v <<= 1
		if bit {
			v++
		}
	}
	return v % n
}

// Sides are what each machine does in a race.
func (o Op) Sides() (sides []Op) {
	for i, what := range strings.Fields(o.Other) {
		sides = append(sides, Op{Machine: o.Machine + i, What: what, Path: o.Path, Other: paths[(o.N+i)%7], N: o.N})
	}
	return sides
}

// Alphabet is what sequences are made of.
type Alphabet struct {
	Least, More int      // operations: Least, and up to More of them more
	Whats       []string // drawn evenly: what is listed twice comes twice as often
	Points      []string // of a crash: "crashat" has one as Other
}

// Sequences of it.
func (a Alphabet) Sequences() *rapid.Generator[[]Op] {
	path := func(t *rapid.T, label string) string {
		switch uniform(t, 10, "kind of "+label) {
		case 0:
			return paths[uniform(t, len(paths), label)]
		case 1, 2, 3, 4, 5:
			return paths[uniform(t, 6, label)]
		}
		return fmt.Sprint("existing ", uniform(t, 20, label))
	}
	return rapid.Custom(func(t *rapid.T) []Op {
		ops := make([]Op, a.Least+uniform(t, a.More, "operations"))
		first := 0
		if uniform(t, 3, "start") > 0 { // from a tree that all have
			for _, path := range []string{"d", "d/e", "a", "b", "d/a", "d/b", "d/e/a"} {
				what := "write"
				if path == "d" || path == "d/e" {
					what = "mkdir"
				}
				ops[first] = Op{What: what, Path: path, N: first}
				first++
			}
			ops[first] = Op{What: "stabilize"}
			first++
		}
		for i := first; i < len(ops); i++ {
			o := Op{Machine: uniform(t, 12, "machine"), What: a.Whats[uniform(t, len(a.Whats), "what")], Path: path(t, "path"), N: uniform(t, 100, "n")}
			switch o.What {
			case "rename", "swap", "link":
				o.Other = path(t, "other")
			case "race":
				o.Other = races[uniform(t, len(races), "race")]
			case "crashat":
				o.Other = a.Points[uniform(t, len(a.Points), "point")]
			}
			ops[i] = o
		}
		return ops
	})
}

// Shrink leaves out of a sequence what does not matter to its failure. A failure
// may need the right moment, so each shorter one has three tries; one of another
// kind does not count. run plays a sequence and says why it failed.
func Shrink(ops []Op, why string, budget int, run func([]Op) string) ([]Op, string) {
	fails := func(ops []Op) string {
		for range 3 {
			if w := run(ops); w != "" && kindOf(w) == kindOf(why) {
				return w
			}
		}
		return ""
	}
	for size := max(1, len(ops)/2); size >= 1; size /= 2 {
		for at := 0; at+size <= len(ops) && budget > 0; {
			less := slices.Concat(ops[:at], ops[at+size:])
			budget--
			if w := fails(less); w != "" {
				ops, why = less, w
			} else {
				at += size
			}
		}
	}
	return ops, why
}

// kindOf is what of a failure is the same in another run.
func kindOf(why string) string {
	line, _, _ := strings.Cut(why, "\n")
	return regexp.MustCompile(`"(\\.|[^"])*"|[0-9]+|m[1-4]|\[[^]]*\]`).ReplaceAllString(line, "")
}

// Literal is a sequence as a test of it would have it.
func Literal(ops []Op) string {
	var out strings.Builder
	for _, o := range ops {
		fmt.Fprintf(&out, "\t{%d, %q, %q, %q, %d},\n", o.Machine, o.What, o.Path, o.Other, o.N)
	}
	return out.String()
}
