package ignore

// special are the characters that begin something other than themselves.
const special = `*?[\`

// matcher is a compiled pattern: a row of parts, the text being matched by
// walking all ways through them side by side. The time is bounded by the length
// of both, whatever the stars.
type matcher []part

type part struct {
	kind partKind
	set  *[4]uint64 // set: the bytes that match
	c    byte       // char
}

type partKind byte

const (
	char    partKind = iota // the byte c
	set                     // a byte of set
	star                    // any bytes but slashes
	all                     // any bytes
	allDirs                 // "**/": nothing, or anything that ends with a slash
	never                   // nothing at all: what is no pattern
)

// compile reads a pattern. In a path, stars and sets match no slash but for two
// stars that fill the place of a name.
func compile(p string, path bool) matcher {
	var m matcher
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			if i++; i == len(p) {
				return matcher{{kind: never}}
			}
			m = append(m, part{kind: char, c: p[i]})
		case '?':
			m = append(m, part{kind: set, set: anyByte(path)})
		case '[':
			s, n := class(p[i:])
			if n == 0 {
				return matcher{{kind: never}}
			}
			if path {
				s[0] &^= 1 << '/'
			}
			m = append(m, part{kind: set, set: s})
			i += n - 1
		case '*':
			begin := i
			for i+1 < len(p) && p[i+1] == '*' {
				i++
			}
			rest := p[i+1:]
			whole := i > begin && (begin == 0 || p[begin-1] == '/')
			switch {
			case !path, whole && (rest == "" || len(rest) > 1 && rest[0] == '\\' && rest[1] == '/'):
				m = append(m, part{kind: all})
			case whole && rest[0] == '/':
				m = append(m, part{kind: allDirs})
				i++
			default:
				m = append(m, part{kind: star})
			}
		default:
			m = append(m, part{kind: char, c: p[i]})
		}
	}
	return m
}

func anyByte(path bool) *[4]uint64 {
	s := &[4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	if path {
		s[0] &^= 1 << '/'
	}
	return s
}

// class reads a set in brackets at the begin of p, and returns how long it is; 0
// when it is none.
func class(p string) (*[4]uint64, int) {
	s := &[4]uint64{}
	add := func(from, to byte) {
		for c := int(from); c <= int(to); c++ {
			s[c>>6] |= 1 << (c & 63)
		}
	}
	i := 1
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}
	before := byte(0) // what a range may begin with
	for first := true; ; first = false {
		if i >= len(p) {
			return nil, 0
		}
		c := p[i]
		switch {
		case c == ']' && !first:
			if negated {
				for k := range s {
					s[k] = ^s[k]
				}
			}
			return s, i + 1
		case c == '\\':
			if i++; i >= len(p) {
				return nil, 0
			}
			add(p[i], p[i])
			before = p[i]
		case c == '-' && before != 0 && i+1 < len(p) && p[i+1] != ']':
			i++
			if p[i] == '\\' {
				if i++; i >= len(p) {
					return nil, 0
				}
			}
			add(before, p[i])
			before = 0
		case c == '[' && i+1 < len(p) && p[i+1] == ':':
			end := i + 2
			for end < len(p) && p[end] != ']' {
				end++
			}
			if end >= len(p) {
				return nil, 0
			}
			if end == i+2 || p[end-1] != ':' { // no name of a class after all
				add('[', '[')
				before = '['
				break
			}
			in, ok := named(p[i+2 : max(i+2, end-1)])
			if !ok {
				return nil, 0
			}
			for c := byte(0); c < 0x80; c++ {
				if in(c) {
					add(c, c)
				}
			}
			i, before = end, 0
		default:
			add(c, c)
			before = c
		}
		i++
	}
}

// named is a class of ASCII characters.
func named(name string) (in func(c byte) bool, ok bool) {
	between := func(from, to byte) func(byte) bool {
		return func(c byte) bool { return from <= c && c <= to }
	}
	upper, lower, digit := between('A', 'Z'), between('a', 'z'), between('0', '9')
	alpha := func(c byte) bool { return upper(c) || lower(c) }
	alnum := func(c byte) bool { return alpha(c) || digit(c) }
	switch name {
	case "alnum":
		in = alnum
	case "alpha":
		in = alpha
	case "blank":
		in = func(c byte) bool { return c == ' ' || c == '\t' }
	case "cntrl":
		in = func(c byte) bool { return c < ' ' || c == 0x7f }
	case "digit":
		in = digit
	case "graph":
		in = between('!', '~')
	case "lower":
		in = lower
	case "print":
		in = between(' ', '~')
	case "punct":
		in = func(c byte) bool { return '!' <= c && c <= '~' && !alnum(c) }
	case "space":
		in = func(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
	case "upper":
		in = upper
	case "xdigit":
		in = func(c byte) bool { return digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }
	}
	return in, in != nil
}

// match tells whether all of text is matched.
func (m matcher) match(text string) bool {
	now, next := make([]bool, len(m)+1), make([]bool, len(m)+1)
	m.reach(now, 0)
	for i := 0; i < len(text); i++ {
		clear(next)
		c, alive := text[i], false
		for at, here := range now[:len(m)] {
			if !here {
				continue
			}
			p := &m[at]
			switch {
			case p.kind == char && p.c == c, p.kind == set && p.set[c>>6]&(1<<(c&63)) != 0:
				m.reach(next, at+1)
			case p.kind == star && c != '/', p.kind == all:
				m.reach(next, at)
			case p.kind == allDirs:
				next[at] = true // what follows is reached after a slash alone
				if c == '/' {
					m.reach(next, at+1)
				}
			default:
				continue
			}
			alive = true
		}
		if !alive {
			return false
		}
		now, next = next, now
	}
	return now[len(m)]
}

// reach notes that parts from at on may come next.
func (m matcher) reach(states []bool, at int) {
	for ; !states[at]; at++ {
		states[at] = true
		if at == len(m) || m[at].kind != star && m[at].kind != all && m[at].kind != allDirs {
			return
		}
	}
}
