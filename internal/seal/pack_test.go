package seal_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/seal"
	"pgregory.net/rapid"
)

func newPack(t testing.TB, k *seal.Keys) *seal.Pack {
	t.Helper()
	p, err := k.NewPack()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestFramesRoundTripThroughTheHeader(t *testing.T) {
	k := newKeys(t)
	rapid.Check(t, func(rt *rapid.T) {
		data := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(rt, "data"), rapid.IntRange(1, 3000).Draw(rt, "times"))
		id := k.ChunkID(chunk.Data, data)
		p := newPack(t, k)
		inner := k.Prepare(nil, data)
		size := seal.FrameSize(inner)
		frame := p.Seal(1234, chunk.Data, id, inner)
		if len(frame) != size || len(frame) > len(data)+seal.FrameOverhead {
			rt.Fatalf("a frame of %d bytes for %d, FrameSize said %d", len(frame), len(data), size)
		}
		again, err := k.OpenPack(p.Header())
		if err != nil {
			rt.Fatal(err)
		}
		got, err := again.Open(1234, chunk.Data, id, frame)
		if err != nil || !bytes.Equal(got, data) {
			rt.Fatalf("opened %d bytes, %v", len(got), err)
		}
	})
}

func TestFramesOpenOnlyInTheirPlaceAsWhatTheyAre(t *testing.T) {
	k := newKeys(t)
	data := bytes.Repeat([]byte("int main(void) { return 0; }\n"), 20)
	id := k.ChunkID(chunk.Data, data)
	p, other := newPack(t, k), newPack(t, k)
	frame := p.Seal(100, chunk.Data, id, k.Prepare(nil, data))
	if len(frame) >= len(data) {
		t.Errorf("%d bytes of source text became a frame of %d", len(data), len(frame))
	}
	open := func(p *seal.Pack, offset int64, kind chunk.Kind, id chunk.ID, frame []byte) error {
		_, err := p.Open(offset, kind, id, frame)
		return err
	}
	if err := open(p, 100, chunk.Data, id, frame); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"another place": open(p, 101, chunk.Data, id, frame),
		"another kind":  open(p, 100, chunk.Tree, id, frame),
		"another id":    open(p, 100, chunk.Data, chunk.ID{1}, frame),
		"another pack":  open(other, 100, chunk.Data, id, frame),
		"nothing":       open(p, 100, chunk.Data, id, nil),
	} {
		if !errors.Is(err, seal.ErrAuth) {
			t.Errorf("%s: error %v, want ErrAuth", name, err)
		}
	}
	for i := range 8 * len(frame) {
		bad := bytes.Clone(frame)
		bad[i/8] ^= 1 << (i % 8)
		if err := open(p, 100, chunk.Data, id, bad); !errors.Is(err, seal.ErrAuth) {
			t.Fatalf("bit %d flipped: error %v", i, err)
		}
	}
	header := bytes.Clone(p.Header())
	for i := range 8 * len(header) {
		bad := bytes.Clone(header)
		bad[i/8] ^= 1 << (i % 8)
		if p, err := k.OpenPack(bad); err == nil {
			if err := open(p, 100, chunk.Data, id, frame); !errors.Is(err, seal.ErrAuth) {
				t.Fatalf("bit %d of the header flipped: error %v", i, err)
			}
		}
	}
}

func TestPrepareDoesNotGrowWhatIsIncompressible(t *testing.T) {
	k := newKeys(t)
	data := make([]byte, 1<<20)
	fixed(4).Read(data)
	if got := len(k.Prepare(nil, data)); got > len(data)+5 {
		t.Fatalf("noise of %d bytes became %d", len(data), got)
	}
}

func TestWrappedKeysOpenWithTheirSecretAlone(t *testing.T) {
	k := newKeys(t)
	wrapped, err := k.WrapPassphrase("correct horse", 8)
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.UnwrapPassphrase(wrapped, "correct horse", nil)
	if err != nil || got.RepositoryID() != k.RepositoryID() {
		t.Fatalf("unwrapped %v, %v", got, err)
	}
	for _, wrong := range []string{"correct horse ", "", "x"} {
		if _, err := seal.UnwrapPassphrase(wrapped, wrong, nil); !errors.Is(err, seal.ErrAuth) {
			t.Errorf("passphrase %q: error %v, want ErrAuth", wrong, err)
		}
	}
	identity, device, err := k.NewDevice()
	if err != nil {
		t.Fatal(err)
	}
	got, err = seal.UnwrapDevice(device, identity, nil)
	if err != nil || got.RepositoryID() != k.RepositoryID() {
		t.Fatalf("unwrapped %v, %v", got, err)
	}
	other, _, err := k.NewDevice()
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{other, "", "AGE-SECRET-KEY-1"} {
		if _, err := seal.UnwrapDevice(device, wrong, nil); !errors.Is(err, seal.ErrAuth) {
			t.Errorf("identity %q: error %v, want ErrAuth", wrong, err)
		}
	}
	if _, err := seal.UnwrapDevice(wrapped, identity, nil); !errors.Is(err, seal.ErrAuth) {
		t.Errorf("a device opened a passphrase's key: %v", err)
	}
	if bytes.Contains(wrapped, []byte(k.RepositoryID())) {
		t.Error("the wrapped key names the repository")
	}
}

func FuzzOpenFrame(f *testing.F) {
	k, err := seal.NewKeys(fixed(3))
	if err != nil {
		f.Fatal(err)
	}
	p, err := k.NewPack()
	if err != nil {
		f.Fatal(err)
	}
	id := k.ChunkID(chunk.Data, []byte("content"))
	f.Add(p.Header(), p.Seal(37, chunk.Data, id, k.Prepare(nil, []byte("content"))))
	f.Fuzz(func(t *testing.T, header, frame []byte) {
		p, err := k.OpenPack(header)
		if err != nil {
			return
		}
		if got, err := p.Open(37, chunk.Data, id, frame); err == nil && string(got) != "content" {
			t.Fatalf("a forged frame opened as %q", got)
		}
	})
}

func TestRestGivesMemoryUp(t *testing.T) {
	k := newKeys(t)
	data := bytes.Repeat([]byte("some text that is long enough to be compressed. "), 4096)
	packed := k.Prepare(nil, data)
	kept := heap()
	k.Rest()
	if freed := int64(kept) - int64(heap()); freed < 512<<10 {
		t.Errorf("%d bytes were given up", freed)
	}
	if !bytes.Equal(k.Prepare(nil, data), packed) {
		t.Error("another result after Rest")
	}
}

// heap is what is in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
