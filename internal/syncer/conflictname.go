package syncer

import (
	"encoding/hex"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/versions"
)

// maxName is the longest name that disks take.
const maxName = 255

// conflictName is the name of a conflict copy of path:
// STEM (conflict HOST INSTANT HASH8).EXT, with the stem cut to fit.
func conflictName(p, host string, at versions.Instant, hash8 string) string {
	dir, name := split(p)
	ext := path.Ext(name)
	if ext == name || len(ext) > 32 {
		ext = "" // a dot file, or no extension anybody meant
	}
	stem := strings.TrimSuffix(name, ext)
	if len(host) > 64 {
		host = cut(host, 64)
	}
	host = strings.ReplaceAll(host, "/", "-")
	mark := fmt.Sprintf(" (conflict %s %s %s)", host, at, hash8)
	return join(dir, cut(stem, maxName-len(mark)-len(ext))+mark+ext)
}

// cut shortens s to at most n bytes, on a character boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// contentHash is eight digits that tell contents apart.
func contentHash(e versions.Entry) string {
	content := versions.Entry{
		Kind: e.Kind, Size: e.Size, Pieces: e.Pieces, List: e.List, Tree: e.Tree,
		Target: e.Target, Device: e.Device, Holes: e.Holes,
	}
	sum := seal.Hash(versions.AppendEntry(nil, content))
	return hex.EncodeToString(sum[:4])
}
