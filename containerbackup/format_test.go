package containerbackup

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/versions"
)

func TestAManifestIsAsSha256sumWritesIt(t *testing.T) {
	s := newSums()
	for _, name := range []string{"plain", "with space", "a/b", "new\nline", `back\slash`, "car\rriage", "umlaut ä", "bytes \xff", "*star"} {
		s.set(name, sha256.Sum256([]byte(name)))
	}
	data, err := io.ReadAll(s.reader())
	must(t, err)
	// What coreutils makes of the same names and contents.
	cmd := exec.Command("sh", "-c", `sha256sum -- "$@"`, "sh")
	cmd.Dir = t.TempDir()
	cmd.Args = append(cmd.Args, files(t, cmd.Dir, s.paths())...)
	want, err := cmd.Output()
	must(t, err)
	if !bytes.Equal(data, want) {
		t.Errorf("the manifest is\n%q\nsha256sum says\n%q", data, want)
	}
	again, err := parseSums(bytes.NewReader(data))
	must(t, err)
	if !maps.Equal(again.of, s.of) {
		t.Errorf("read back: %v", again.paths())
	}
}

func FuzzParseSums(f *testing.F) {
	f.Add([]byte(strings.Repeat("0", 64) + "  name\n"))
	f.Add([]byte(`\` + strings.Repeat("a", 64) + `  back\\slash\n` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSums(bytes.NewReader(data))
		if err != nil {
			return
		}
		written, err := io.ReadAll(s.reader())
		must(t, err)
		again, err := parseSums(bytes.NewReader(written))
		if err != nil || !maps.Equal(s.of, again.of) {
			t.Errorf("%q was read as %v and written as %q: %v", data, s.of, written, err)
		}
	})
}

func TestInfoOfAnotherProgramIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"newer":             {`{"format": 2, "containers": 7}`, ErrNewer},
		"without a format":  {`{"project": "x"}`, ErrFormat},
		"no JSON":           {`format: 1`, ErrFormat},
		"a hollow one":      {`{"format": 1, "containers": [{"name": "x"}]}`, ErrFormat},
		"a container of no": {`{"format": 1, "containers": [{"config": {}, "host_config": {}}]}`, ErrFormat},
	} {
		if _, err := DecodeInfo([]byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzDecodeInfo(f *testing.F) {
	f.Add([]byte(`{"format": 1, "project": "p", "containers": [{"name": "p-a-1", "service": "a", "config": {"Labels": {"com.docker.compose.depends_on": "a:b,:"}}, "host_config": {"Binds": ["x:/y", ":"], "NetworkMode": "container:"}}]}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if info, err := DecodeInfo(data); err == nil {
			_, _ = makePlan(info, "other", "", nil) // must not panic, whatever a snapshot holds
			_, _ = makePlan(info, "", "", nil)
		}
	})
}

func TestLabels(t *testing.T) {
	w, err := parseWishes(map[string]string{
		"syncfs.backup": "true", "syncfs.backup.stop": "pause", "io.github.syncfs.backup.pre": "sync",
		"syncfs.backup.exclude": "/a, /b/c", "syncfs.backup.timeout": "90s", "syncfs.backups": "other", "com.example": "x",
	})
	must(t, err)
	if w.Skip || w.Hold != holdPause || w.Pre != "sync" || !slices.Equal(w.Exclude, []string{"/a", "/b/c"}) || w.Timeout != 90*time.Second {
		t.Errorf("%+v", w)
	}
	for key, value := range map[string]string{
		"syncfs.backup": "perhaps", "syncfs.backup.stop": "kill", "syncfs.backup.timeout": "0", "syncfs.backup.exclude": "tmp", "syncfs.backup.stopp": "true",
	} {
		if _, err := parseWishes(map[string]string{key: value}); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s=%s: %v, want an error that names the label", key, value, err)
		}
	}
}

// archiveOf makes a tar of names and what is in them.
func archiveOf(t *testing.T, list ...tar.Header) *tar.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range list {
		data := []byte("content of " + h.Name)
		if h.Name == "manifest.json" {
			data = []byte(`[{"Config": "c.json", "Layers": ["l1/layer.tar", "l2/layer.tar"]}]`)
		}
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
		}
		h.Mode = 0o644
		must(t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write(data)
			must(t, err)
		}
	}
	must(t, w.Close())
	return tar.NewReader(&b)
}

func TestHostilePathsInAnArchiveAreRefused(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"up":               {Name: "../etc/passwd"},
		"up from inside":   {Name: "a/../../b"},
		"absolute":         {Name: "/etc/passwd"},
		"a link out":       {Name: "l/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../../etc/passwd"},
		"an absolute link": {Name: "l/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"a hard link out":  {Name: "l/layer.tar", Typeflag: tar.TypeLink, Linkname: "../passwd"},
	} {
		if _, _, err := newBackup().unpack(t.Context(), archiveOf(t, h)); !errors.Is(err, ErrHostile) {
			t.Errorf("%s: %v, want %v", name, err, ErrHostile)
		}
	}
}

func TestAnExportedImageIsStoredByDigest(t *testing.T) {
	b := newBackup()
	parts, index, err := b.unpack(t.Context(), archiveOf(t, tar.Header{Name: "c.json"}, tar.Header{Name: "l1/layer.tar"},
		tar.Header{Name: "l2/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../l1/layer.tar"}, tar.Header{Name: "l1/VERSION"}, tar.Header{Name: "manifest.json"}))
	must(t, err)
	want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("content of l1/layer.tar")))
	if len(index) != 1 || parts["l1/layer.tar"].digest != want || parts["l2/layer.tar"].digest != want {
		t.Errorf("index %+v, parts %+v", index, parts)
	}
	// A circle of links ends.
	if _, _, err := b.unpack(t.Context(), archiveOf(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "b"}, tar.Header{Name: "b", Typeflag: tar.TypeSymlink, Linkname: "a"})); err != nil {
		t.Error(err)
	}
}

func TestVerifyNamesWhatIsNotAsTheManifestSays(t *testing.T) {
	b, ctx := newBackup(), context.Background()
	for _, name := range []string{"good", "dir/changed", "dir/gone", "unnamed"} {
		must(t, b.tree.writeBytes(ctx, name, []byte(name)))
	}
	b.tree.sums.set("dir/changed", sha256.Sum256([]byte("something else")))
	delete(b.tree.sums.of, "unnamed")
	delete(b.tree.root.names["dir"].names, "gone")
	root, err := b.tree.close(ctx)
	must(t, err)
	bad := map[string]bool{}
	files, err := Verify(ctx, b.o.Trees, b.o.Contents, root, func(int64) {}, func(m Mismatch) {
		if !errors.Is(m.Err, ErrMismatch) {
			t.Errorf("%s: %v", m.Path, m.Err)
		}
		bad[m.Path] = true
	})
	must(t, err)
	if want := map[string]bool{"dir/changed": true, "dir/gone": true, "unnamed": true}; !maps.Equal(bad, want) || files != 2 {
		t.Errorf("%d files compared, of which differ %v, want %v", files, bad, want)
	}
	if _, err := Verify(ctx, b.o.Trees, b.o.Contents, versions.Entry{Kind: versions.Dir}, func(int64) {}, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("a tree without a manifest: %v", err)
	}
}
