package containerbackup

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// manifestName is the file with the checksums of all others.
const manifestName = "backup_manifest.txt"

// sums are the SHA-256 of files by path. It is safe for use by many goroutines.
type sums struct {
	mu sync.Mutex // guards of
	of map[string][sha256.Size]byte
}

func newSums() *sums { return &sums{of: map[string][sha256.Size]byte{}} }

func (s *sums) set(path string, sum [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of[path] = sum
}

func (s *sums) get(path string) ([sha256.Size]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, ok := s.of[path]
	return sum, ok
}

// paths are all paths, sorted.
func (s *sums) paths() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.of))
}

// reader is the manifest as GNU sha256sum writes it.
func (s *sums) reader() io.Reader {
	r, w := io.Pipe()
	go func() {
		buf := bufio.NewWriterSize(w, 64<<10)
		for _, path := range s.paths() {
			sum, _ := s.get(path)
			name, escaped := escapeName(path)
			mark := ""
			if escaped {
				mark = `\`
			}
			fmt.Fprintf(buf, "%s%x  %s\n", mark, sum, name)
		}
		w.CloseWithError(buf.Flush()) // nil is the end
	}()
	return r
}

// escapeName writes a name on one line, as sha256sum does.
func escapeName(name string) (string, bool) {
	if !strings.ContainsAny(name, "\\\n\r") {
		return name, false
	}
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`).Replace(name), true
}

func unescapeName(name string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '\\' {
			b.WriteByte(name[i])
			continue
		}
		i++
		switch at := i < len(name); {
		case at && name[i] == '\\':
			b.WriteByte('\\')
		case at && name[i] == 'n':
			b.WriteByte('\n')
		case at && name[i] == 'r':
			b.WriteByte('\r')
		default:
			return "", fmt.Errorf("%q is not escaped as sha256sum does", name)
		}
	}
	return b.String(), nil
}

// maxManifestLine bounds a line: a path is at most a few times PATH_MAX long.
const maxManifestLine = 1 << 20

// parseSums reads a manifest.
func parseSums(r io.Reader) (*sums, error) {
	s := newSums()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxManifestLine)
	for n := 1; lines.Scan(); n++ {
		line, escaped := strings.CutPrefix(lines.Text(), `\`)
		if len(line) < 2*sha256.Size+3 || line[2*sha256.Size] != ' ' || line[2*sha256.Size+1] != ' ' && line[2*sha256.Size+1] != '*' {
			return nil, fmt.Errorf("%s, line %d: %w", manifestName, n, ErrFormat)
		}
		var sum [sha256.Size]byte
		if _, err := hex.Decode(sum[:], []byte(line[:2*sha256.Size])); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w: %w", manifestName, n, ErrFormat, err)
		}
		path := line[2*sha256.Size+2:]
		if escaped {
			var err error
			if path, err = unescapeName(path); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w: %w", manifestName, n, ErrFormat, err)
			}
		}
		s.of[path] = sum
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	return s, nil
}
