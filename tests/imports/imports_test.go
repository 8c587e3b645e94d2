// Package imports keeps the layers of the product apart: who may import whom,
// and why, as a test.
package imports_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/syncfs/syncfs"

// layer is what a package of ours may import of ours, directly. A package that
// is not listed fails the test: it has to find its place first.
type layer struct {
	name string
	may  []string
	why  string
}

// layers stand from the bottom up: nothing imports what stands below itself.
var layers = []layer{
	{"internal/atomicfile", nil, "the one helper by which files are replaced knows of nothing else"},
	{"internal/canon", nil, "the helpers of canonical encodings know of no format"},
	{"internal/config", nil, "what a user may set knows nothing of what is set"},
	{"internal/chunk", nil, "pure: ids and cutting are the same everywhere"},
	{"internal/blob", []string{"internal/atomicfile"}, "a blob store keeps bytes and must not be able to read them"},
	{"internal/seal", []string{"internal/chunk"}, "encryption knows no storage"},
	{"internal/store", []string{"internal/atomicfile", "internal/blob", "internal/chunk", "internal/seal"}, "chunks over blobs; what is in them is the layer above"},
	{"versions", []string{"internal/canon", "internal/chunk"}, "trees take an interface of two methods, not a store"},
	{"internal/disk", []string{"versions"}, "one inode on a disk knows no repository"},
	{"internal/ignore", nil, "rules about names are pure: who reads them from where is the caller"},
	{"internal/reconcile", []string{"versions", "internal/chunk"}, "decisions are pure: no disk, no network, no clock"},
	{"internal/line", []string{"internal/blob", "internal/canon", "internal/chunk", "internal/seal", "versions"}, "heads and records know no disk and no chunk store"},
	{"internal/meta", []string{"internal/atomicfile", "internal/canon", "internal/chunk", "versions"}, "what can be rebuilt knows nothing of what it is rebuilt from"},
	{"internal/folder", []string{"internal/chunk", "internal/disk", "internal/ignore", "versions"}, "a directory on disk knows no remote"},
	{"remote", []string{"internal/atomicfile", "internal/blob"}, "the server must not be able to open what it stores"},
	{"fs", []string{"internal/chunk", "internal/disk", "versions"}, "the mount serves what it is given: no store, no remote, no sync"},
	{"internal/ondemand", []string{"internal/chunk", "internal/disk", "internal/folder", "internal/ignore", "versions"}, "what is not here is brought by what it is given: it knows neither the mount nor the remote"},
	{"internal/syncer", []string{"internal/atomicfile", "internal/blob", "internal/canon", "internal/chunk", "internal/disk", "internal/folder", "internal/ignore", "internal/line", "internal/meta", "internal/reconcile", "internal/seal", "internal/store", "versions"}, "the syncer works on any folder, mounted or not"},
	{"internal/upkeep", []string{"internal/blob", "internal/chunk", "internal/line", "internal/seal", "internal/store", "versions"}, "caring for a repository needs no folder on a disk and no agent"},
	{"internal/oplog", []string{"internal/atomicfile", "internal/blob", "internal/seal"}, "what was done is told to all machines by whoever did it"},
	{"internal/backup", []string{"internal/atomicfile", "internal/blob", "internal/chunk", "internal/disk", "internal/folder", "internal/ignore", "internal/line", "internal/meta", "internal/seal", "internal/store", "internal/syncer", "versions"}, "a backup is a process of its own and needs no agent"},
	{"containerbackup", []string{"internal/atomicfile", "internal/chunk", "internal/disk", "versions"}, "what a project is made of is read and written with two methods to store chunks, not with a store"},
	{"internal/agent", []string{"fs", "internal/atomicfile", "internal/blob", "internal/canon", "internal/chunk", "internal/config", "internal/disk", "internal/folder", "internal/line", "internal/meta", "internal/ondemand", "internal/oplog", "internal/reconcile", "internal/seal", "internal/store", "internal/syncer", "internal/upkeep", "remote", "versions"}, "the agent wires everything"},
	{"internal/doctor", []string{"internal/atomicfile"}, "what a machine needs is looked at without a repository"},
	{"internal/login", []string{"internal/atomicfile"}, "how a program starts at login knows nothing of the program"},
	{"cmd/syncfs", []string{"containerbackup", "fs", "internal/agent", "internal/backup", "internal/blob", "internal/chunk", "internal/config", "internal/disk", "internal/doctor", "internal/ignore", "internal/line", "internal/login", "internal/oplog", "internal/seal", "internal/store", "internal/upkeep", "remote", "versions"}, "commands parse, call and print; folders, rounds and the database are the agent's"},
}

// outsider says which packages of ours may import something from outside.
type outsider struct {
	outside string // and everything below it, unless it is of the standard library
	may     []string
	why     string
}

func (o outsider) matches(imported string) bool {
	return imported == o.outside || strings.Contains(o.outside, ".") && strings.HasPrefix(imported, o.outside+"/")
}

// only is the list of them.
var only = []outsider{
	{"github.com/hanwen/go-fuse", []string{"fs"}, "one package knows FUSE"},
	{"github.com/dgraph-io", []string{"internal/meta"}, "one package knows Badger, so that it can be replaced and stays disposable"},
	{"github.com/fsnotify/fsnotify", []string{"internal/folder"}, "one package knows how changes on disk are noticed"},
	{"filippo.io/age", []string{"internal/seal"}, "cryptography is in one place"},
	{"golang.org/x/crypto", []string{"internal/seal"}, "cryptography is in one place"},
	{"crypto/aes", []string{"internal/seal"}, "cryptography is in one place"},
	{"crypto/cipher", []string{"internal/seal"}, "cryptography is in one place"},
	{"github.com/klauspost/compress", []string{"internal/seal"}, "compression is part of the format"},
	{"github.com/prometheus", []string{"remote"}, "metrics are the server's"},
	{"github.com/cenkalti/backoff", []string{"remote"}, "retries are the client's alone: above it, an error has been retried"},
	{"github.com/moby/moby", []string{"containerbackup"}, "one package speaks to container engines"},
	{"github.com/opencontainers", []string{"containerbackup"}, "one package knows images"},
	{"github.com/xhit/go-str2duration", []string{"internal/config"}, "one package reads what a user may set"},
	{"github.com/BurntSushi/toml", []string{"internal/config"}, "one package reads the configuration"},
	{"github.com/spf13", []string{"cmd/syncfs"}, "the command line is the command's"},
	{"github.com/schollz/progressbar", []string{"cmd/syncfs"}, "only the command prints"},
	{"github.com/zalando/go-keyring", []string{"cmd/syncfs"}, "only the command asks for secrets"},
	{"github.com/godbus/dbus", []string{"cmd/syncfs"}, "only the command knows the desktop"},
	{"github.com/coreos/go-systemd", []string{"cmd/syncfs"}, "only the command knows who started it"},
	{"golang.org/x/term", []string{"cmd/syncfs"}, "only the command has a terminal"},
	{"github.com/rogpeppe/go-internal", []string{"cmd/syncfs"}, "its diff is for printing"},
	{"github.com/robfig/cron", []string{"internal/agent"}, "only the agent repeats anything"},
	{"net/http", []string{"remote", "internal/agent"}, "the wire and the control socket, nothing else speaks HTTP"},
	{"os/exec", []string{"fs", "internal/agent", "internal/login", "cmd/syncfs"}, "who starts a program: see TestOnlyTheMountStartsPrograms"},
	{"flag", nil, "flags are pflag's, in cmd/syncfs"},
	{"log", nil, "loggers are *slog.Logger and come in through options"},
}

// never says what a package must not depend on at all, however indirectly.
var never = []struct{ name, on, why string }{
	{"internal/reconcile", "net", "decisions are pure"},
	{"internal/chunk", "net", "pure"},
	{"remote", module + "/internal/seal", "the server never sees a key"},
	{"remote", module + "/internal/store", "the server never sees a chunk"},
	{"versions", module + "/internal/store", "trees work over any keeper of chunks"},
	{"containerbackup", module + "/internal/store", "containers are saved over any keeper of chunks"},
	{"fs", module + "/remote", "a request of the kernel must not wait for a network that it was not given"},
}

// goPackage is what go list tells of a package.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Error      *struct{ Err string }
}

// list asks the go command for all packages of ours as they are built for goos.
func list(t *testing.T, goos string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-deps=false", "-json=ImportPath,Imports,Deps,Error", "./...")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.Bytes())
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// ours is a package's name within the module; false for what tests are made of.
func ours(importPath string) (string, bool) {
	name, ok := strings.CutPrefix(importPath, module+"/")
	if !ok || strings.HasPrefix(name, "tests/") || strings.HasSuffix(path.Base(name), "test") {
		return "", false
	}
	return name, true
}

func find(name string) (layer, int) {
	i := slices.IndexFunc(layers, func(l layer) bool { return l.name == name })
	if i < 0 {
		return layer{}, -1
	}
	return layers[i], i
}

func TestImportsRunOneWay(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			seen := 0
			for _, p := range list(t, goos) {
				name, ok := ours(p.ImportPath)
				if !ok {
					continue
				}
				seen++
				checkPackage(t, name, p)
			}
			if seen < 10 {
				t.Errorf("only %d packages were looked at: the test tests nothing", seen)
			}
		})
	}
}

func checkPackage(t *testing.T, name string, p goPackage) {
	l, at := find(name)
	if at < 0 {
		t.Errorf("%s has no place in the layers yet: give it one, with the reason", name)
		return
	}
	for _, imported := range p.Imports {
		if other, ok := strings.CutPrefix(imported, module+"/"); ok && !slices.Contains(l.may, other) {
			t.Errorf("%s must not import %s: %s", name, other, l.why)
		}
		for _, o := range only {
			if o.matches(imported) && !slices.Contains(o.may, name) {
				t.Errorf("%s must not import %s: %s", name, imported, o.why)
			}
		}
	}
	for _, n := range never {
		if n.name == name && slices.Contains(p.Deps, n.on) {
			t.Errorf("%s must not depend on %s: %s", name, n.on, n.why)
		}
	}
}

// The table itself must run one way, or it would allow a circle of layers.
func TestLayersOnlyNameWhatStandsBelowThem(t *testing.T) {
	for i, l := range layers {
		for _, other := range l.may {
			if _, at := find(other); at < 0 || at >= i {
				t.Errorf("%s may import %s, which does not stand below it", l.name, other)
			}
		}
		if l.why == "" {
			t.Errorf("%s: no reason is given", l.name)
		}
	}
}
