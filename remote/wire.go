package remote

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// Headers beyond those of HTTP itself.
const (
	headerAPI       = "Syncfs-Api"      // on every answer of a syncfs server: the API's version
	headerModified  = "Syncfs-Modified" // Info.Modified to the nanosecond, RFC 3339
	headerTurn      = "Syncfs-Turn"     // a commit made in one's turn
	headerDigest    = "Repr-Digest"     // RFC 9530, of the whole object
	headerKey       = "X-Api-Key"
	headerRequestID = "X-Request-Id"
)

const (
	apiVersion = "1"

	// smallPut is the size up to which a put is held in memory; larger ones go
	// through a partial file and can be resumed.
	smallPut = 1 << 20
	// commitLimit bounds the body of a commit.
	commitLimit = 8 << 20
	// eventLimit is what a commit may hold to be carried whole in its event.
	eventLimit = 256 << 10
	// jsonLimit bounds a JSON answer that the client reads.
	jsonLimit = 64 << 20

	listPage    = 5000
	listPageMax = 10000
)

// wireInfo is blob.Info in a listing.
type wireInfo struct {
	Name     string    `json:"name"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

type wireList struct {
	Objects []wireInfo `json:"objects"`
	Next    string     `json:"next,omitempty"` // pass as after; "" at the end
}

// wireHead is blob.Head in answers and events.
type wireHead struct {
	Folder   string    `json:"folder"`
	Number   uint64    `json:"number"`
	Received time.Time `json:"received"`
	Record   string    `json:"record,omitempty"`
	Sealed   []byte    `json:"sealed"`
}

type wireHeads struct {
	Heads []wireHead `json:"heads"`
}

type wireBlob struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

type wireEvent struct {
	wireHead
	Entry []byte     `json:"entry,omitempty"`
	Blobs []wireBlob `json:"blobs,omitempty"`
}

type wireOffset struct {
	Offset int64 `json:"offset"`
}

type wireTurn struct {
	Turn    string  `json:"turn"`
	Seconds float64 `json:"seconds"`
}

type wireServer struct {
	Server     string `json:"server"`
	Version    string `json:"version"`
	API        int    `json:"api"`
	Token      string `json:"token"`
	Role       Role   `json:"role"`
	Repository bool   `json:"repository"`
}

func toWireHead(h blob.Head) wireHead {
	return wireHead{Folder: h.Folder, Number: h.Number, Received: h.Received.UTC(), Record: h.Record, Sealed: h.Sealed}
}

// head checks what a server sent before it is believed to be a head.
func (w wireHead) head() (blob.Head, error) {
	if !blob.ValidFolder(w.Folder) || w.Number == 0 || w.Record != "" && !blob.ValidName(w.Record) {
		return blob.Head{}, fmt.Errorf("%w: a head of folder %q that makes no sense", ErrNotServer, clip(w.Folder))
	}
	return blob.Head{Folder: w.Folder, Number: w.Number, Received: w.Received, Record: w.Record, Sealed: w.Sealed}, nil
}

// digest is the SHA-256 of a whole object, in transit and nowhere else.
type digest [sha256.Size]byte

// String is the digest as a Repr-Digest header.
func (d digest) String() string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(d[:]) + ":"
}

func (d digest) hex() string { return hex.EncodeToString(d[:]) }

func (d digest) equal(sum []byte) bool { return subtle.ConstantTimeCompare(d[:], sum) == 1 }

// parseDigest finds the SHA-256 in a Repr-Digest header.
func parseDigest(header string) (d digest, err error) {
	for member := range strings.SplitSeq(header, ",") {
		value, ok := strings.CutPrefix(strings.TrimSpace(member), "sha-256=:")
		if !ok {
			continue
		}
		value, ok = strings.CutSuffix(value, ":")
		if !ok {
			break
		}
		sum, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || len(sum) != len(d) {
			break
		}
		return digest(sum), nil
	}
	return d, fmt.Errorf("no sha-256 in the header %s", headerDigest)
}

func parseHexDigest(s string) (d digest, err error) {
	sum, err := hex.DecodeString(s)
	if err != nil || len(sum) != len(d) {
		return d, fmt.Errorf("not a SHA-256 in hexadecimal digits")
	}
	return digest(sum), nil
}

// parseContentRange takes "bytes FIRST-LAST/TOTAL" apart.
func parseContentRange(header string) (first, last, total int64, err error) {
	bad := fmt.Errorf("malformed Content-Range %q", clip(header))
	rest, ok := strings.CutPrefix(header, "bytes ")
	if !ok {
		return 0, 0, 0, bad
	}
	extent, size, ok := strings.Cut(rest, "/")
	if !ok {
		return 0, 0, 0, bad
	}
	a, b, ok := strings.Cut(extent, "-")
	if !ok {
		return 0, 0, 0, bad
	}
	for _, f := range []struct {
		text string
		into *int64
	}{{a, &first}, {b, &last}, {size, &total}} {
		n, err := strconv.ParseUint(f.text, 10, 63)
		if err != nil {
			return 0, 0, 0, bad
		}
		*f.into = int64(n)
	}
	if first > last || last >= total {
		return 0, 0, 0, bad
	}
	return first, last, total, nil
}

// parseRange turns a Range header into an extent of an object of size bytes.
// whole is true for headers that HTTP says to ignore: other units, several
// ranges, malformed ones. ok is false when nothing of the object is asked for.
func parseRange(header string, size int64) (offset, length int64, whole, ok bool) {
	extent, found := strings.CutPrefix(header, "bytes=")
	a, b, dash := strings.Cut(extent, "-")
	if !found || !dash || strings.Contains(extent, ",") {
		return 0, size, true, true
	}
	if a == "" { // the last n bytes
		n, err := strconv.ParseUint(b, 10, 63)
		if err != nil {
			return 0, size, true, true
		}
		n = min(n, uint64(size))
		return size - int64(n), int64(n), false, n > 0
	}
	first, err := strconv.ParseUint(a, 10, 63)
	if err != nil {
		return 0, size, true, true
	}
	last := uint64(1<<63 - 2)
	if b != "" {
		if last, err = strconv.ParseUint(b, 10, 63); err != nil || last < first {
			return 0, size, true, true
		}
	}
	if first >= uint64(size) {
		return 0, 0, false, false
	}
	last = min(last, uint64(size)-1)
	return int64(first), int64(last - first + 1), false, true
}

// clip shortens what a peer sent for a message.
func clip(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}
