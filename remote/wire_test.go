package remote

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/blob"
)

func drawCommit(t *rapid.T) blob.Commit {
	data := rapid.SliceOfN(rapid.Byte(), 0, 200)
	c := blob.Commit{Expect: rapid.Uint64().Draw(t, "expect"), Sealed: data.Draw(t, "sealed")}
	if rapid.Bool().Draw(t, "snapshot") {
		c.ID = rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "id")
		c.Record = data.Draw(t, "record")
	}
	for range rapid.IntRange(0, 5).Draw(t, "blobs") {
		c.Blobs = append(c.Blobs, blob.Blob{Name: rapid.StringMatching(`[a-z0-9]{1,8}(/[a-z0-9._-]{0,3}[a-z]){0,2}`).
			Filter(blob.ValidName).Draw(t, "name"), Data: data.Draw(t, "data")})
	}
	return c
}

func TestACommitSurvivesItsBody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommit(t)
		body, err := encodeCommit(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeCommit(body)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("got %+v, %v, want %+v", got, err, c)
		}
		// No byte of it may change, and none be missing.
		at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
		body[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := decodeCommit(body); !errors.Is(err, blob.ErrCorrupt) {
			t.Fatalf("a flipped bit: %v", err)
		}
		if _, err := decodeCommit(body[:at]); err == nil {
			t.Fatal("a body that is cut was taken")
		}
	})
}

func TestAnEventSurvivesItsStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCommit(t)
		head := blob.Head{Folder: "folder", Number: 1 + c.Expect%1000, Sealed: c.Sealed}
		text, err := encodeEvent(head, c)
		if err != nil {
			t.Fatal(err)
		}
		stream := bufio.NewReaderSize(io.MultiReader(strings.NewReader(": alive\n\n"), bytes.NewReader(text)), 16)
		kind, data, err := readEvent(stream)
		if err != nil || kind != "head" {
			t.Fatalf("readEvent: %q, %v", kind, err)
		}
		got, err := parseEvent(data)
		if err != nil {
			t.Fatal(err)
		}
		if got.Head.Folder != head.Folder || got.Head.Number != head.Number || !bytes.Equal(got.Head.Sealed, head.Sealed) ||
			!bytes.Equal(got.Entry, c.Record) || len(got.Blobs) != len(c.Blobs) {
			t.Fatalf("got %+v for %+v", got, c)
		}
		for i := range got.Blobs {
			if got.Blobs[i].Name != c.Blobs[i].Name || !bytes.Equal(got.Blobs[i].Data, c.Blobs[i].Data) {
				t.Fatalf("blob %d: %+v", i, got.Blobs[i])
			}
		}
	})
}

func TestRangesAreReadAsHTTPSays(t *testing.T) {
	tests := []struct {
		header         string
		size           int64
		offset, length int64
		whole, ok      bool
	}{
		{"", 10, 0, 10, true, true},
		{"bytes=0-4", 10, 0, 5, false, true},
		{"bytes=3-", 10, 3, 7, false, true},
		{"bytes=3-99", 10, 3, 7, false, true},
		{"bytes=-4", 10, 6, 4, false, true},
		{"bytes=-40", 10, 0, 10, false, true},
		{"bytes=10-", 10, 0, 0, false, false},
		{"bytes=-0", 10, 10, 0, false, false},
		{"bytes=0-0", 0, 0, 0, false, false},
		{"bytes=5-3", 10, 0, 10, true, true},
		{"bytes=1-2,4-5", 10, 0, 10, true, true},
		{"lines=1-2", 10, 0, 10, true, true},
		{"bytes=x-", 10, 0, 10, true, true},
		{"bytes=0-9223372036854775807", 10, 0, 10, false, true},
	}
	for _, test := range tests {
		offset, length, whole, ok := parseRange(test.header, test.size)
		if ok != test.ok || whole != test.whole || ok && (offset != test.offset || length != test.length) {
			t.Errorf("parseRange(%q, %d) = %d, %d, %v, %v", test.header, test.size, offset, length, whole, ok)
		}
	}
}

func FuzzDecodeCommit(f *testing.F) {
	body, err := encodeCommit(blob.Commit{
		Expect: 3, Sealed: []byte("head"), ID: strings.Repeat("a", 64), Record: []byte("record"),
		Blobs: []blob.Blob{{Name: "packs/a", Data: []byte("data")}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body[:len(body)-sha256.Size])
	f.Add([]byte(commitMagic))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body) // or nothing would get past the checksum
		body = append(body[:len(body):len(body)], sum[:]...)
		c, err := decodeCommit(body)
		if err != nil {
			return
		}
		again, err := encodeCommit(c)
		if err != nil || !bytes.Equal(again, body) {
			t.Fatalf("%x decodes to %+v, which encodes to %x, %v", body, c, again, err)
		}
	})
}

func FuzzReadEvent(f *testing.F) {
	f.Add([]byte("event: ready\ndata: {\"keepAliveSeconds\":15}\n\n: alive\n\nevent: head\r\ndata: {\"folder\":\"f\",\"number\":1}\r\n\r\n"))
	f.Add([]byte("data\ndata: a\ndata:b\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		stream := bufio.NewReaderSize(bytes.NewReader(text), 16)
		for {
			kind, data, err := readEvent(stream)
			if err != nil {
				return
			}
			parseReady(kind, data)
			if event, err := parseEvent(data); err == nil && (event.Head.Number == 0 || !blob.ValidFolder(event.Head.Folder)) {
				t.Fatalf("believed %+v", event)
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("bytes 0-4/10", int64(10))
	f.Add("bytes=3-", int64(10))
	f.Add("sha-256=:"+strings.Repeat("A", 43)+"=:", int64(0))
	f.Add(strings.Repeat("ab", 32), int64(1))
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if first, last, total, err := parseContentRange(header); err == nil && !(0 <= first && first <= last && last < total) {
			t.Fatalf("parseContentRange(%q) = %d, %d, %d", header, first, last, total)
		}
		if d, err := parseDigest(header); err == nil {
			if again, err := parseDigest(d.String()); err != nil || again != d {
				t.Fatalf("parseDigest(%q) = %s", header, d)
			}
		}
		if s, err := ParseFingerprint(header); err == nil && len(s) != 71 {
			t.Fatalf("ParseFingerprint(%q) = %q", header, s)
		}
		if size < 0 {
			return
		}
		if offset, length, _, ok := parseRange(header, size); ok && (offset < 0 || length < 0 || offset+length > size) {
			t.Fatalf("parseRange(%q, %d) = %d, %d", header, size, offset, length)
		}
	})
}

func FuzzErrorAnswer(f *testing.F) {
	f.Add(409, []byte(`{"code":"moved","message":"m","head":{"folder":"f"}}`))
	f.Add(404, []byte(``))
	f.Add(507, []byte(`{`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := errorOf(&http.Response{StatusCode: status, Header: http.Header{headerAPI: {"1"}}, Body: io.NopCloser(bytes.NewReader(body))})
		var a *answer
		if !errors.As(err, &a) || a.Error() == "" || strings.ContainsAny(a.Error(), "\x1b\n\x00") {
			t.Fatalf("errorOf(%d, %q) = %v", status, body, err)
		}
	})
}
