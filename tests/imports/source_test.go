package imports_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// opensPaths are the functions of package os that walk a path. On a path below
// a mount of its own the agent would wait for itself, and hang.
var opensPaths = []string{
	"Open", "OpenFile", "Create", "Stat", "Lstat", "ReadFile", "WriteFile", "ReadDir", "Readlink", "Mkdir",
	"MkdirAll", "MkdirTemp", "CreateTemp", "Remove", "RemoveAll", "Rename", "Chmod", "Chown", "Lchown", "Chtimes",
	"Symlink", "Link", "Truncate", "DirFS", "OpenRoot", "Chdir",
}

// mayOpenPaths are the packages and files whose paths never lie below a mount: those of
// syncfs's own directories, which a folder is never allowed to hold, and those
// of the server and the command, which serve no mount.
var mayOpenPaths = []struct{ where, why string }{
	{"cmd/syncfs", "another process than the agent"},
	{"containerbackup", "another process than the agent: volumes and the files that Compose was given"},
	{"remote", "the server's own data directory"},
	{"fs", "/proc, /dev/fuse and /etc, never a path below the mount"},
	{"internal/agent", "its own state; a folder's directory is opened by disk.OpenRoot before it is mounted over"},
	{"internal/atomicfile", "its own state"},
	{"internal/backup", "another process than the agent, but for its own state"},
	{"internal/blob", "a repository's directory, which is refused as a folder"},
	{"internal/config", "the configuration"},
	{"internal/disk", "opens a folder's root once, by OpenRoot; all else goes by descriptors below it"},
	{"internal/doctor", "another process than the agent"},
	{"internal/folder/spill.go", "a large listing's temporary file"},
	{"internal/folder/watch_other.go", "where this is built nothing is mounted"},
	{"internal/login", "another process than the agent"},
	{"internal/meta", "its own database"},
	{"internal/oplog", "its own state"},
	{"internal/store", "its own spool and cache"},
	{"internal/syncer", "its own state: base, queue, journal"},
}

// sources visits every file of ours that is no test.
func sources(t *testing.T, fn func(dir, file string, tree *ast.File, set *token.FileSet)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == "tests" || rel != "." && strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(d.Name(), "test") || rel == "bin" {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		fn(filepath.ToSlash(filepath.Dir(rel)), filepath.ToSlash(rel), tree, set)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhatCannotHangOpensPaths(t *testing.T) {
	files := 0
	sources(t, func(dir, file string, tree *ast.File, set *token.FileSet) {
		files++
		for _, m := range mayOpenPaths {
			if m.where == dir || m.where == file {
				return
			}
		}
		for _, call := range calls(tree, "os") {
			if slices.Contains(opensPaths, call.Sel.Name) {
				t.Errorf("%s calls os.%s: the agent may open paths by disk.Root alone", set.Position(call.Pos()), call.Sel.Name)
			}
		}
	})
	if files < 50 {
		t.Errorf("only %d files were looked at: the test tests nothing", files)
	}
}

// A program started by the agent with a path below its own mount hangs: fs alone
// starts programs, the one child that may use the mount, and fusermount3.
func TestOnlyTheMountStartsPrograms(t *testing.T) {
	found := 0
	sources(t, func(dir, _ string, tree *ast.File, set *token.FileSet) {
		for _, pkg := range []string{"exec", "os", "syscall", "unix"} {
			for _, call := range calls(tree, pkg) {
				switch call.Sel.Name {
				case "Command", "CommandContext", "StartProcess", "ForkExec", "Exec":
				default:
					continue
				}
				found++
				if dir != "fs" && dir != "cmd/syncfs" && dir != "internal/login" {
					t.Errorf("%s starts a program", set.Position(call.Pos()))
				}
			}
		}
	})
	if found < 2 {
		t.Errorf("only %d calls were found: the test tests nothing", found)
	}
}

// calls finds the selectors of a package in a file.
func calls(tree *ast.File, pkg string) (found []*ast.SelectorExpr) {
	ast.Inspect(tree, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok && id.Name == pkg && id.Obj == nil {
				found = append(found, s)
			}
		}
		return true
	})
	return found
}

// The process ends in main alone, nothing runs before it, and nothing prints
// behind the command's back.
func TestTheHouseRulesHold(t *testing.T) {
	sources(t, func(dir, file string, tree *ast.File, set *token.FileSet) {
		for _, d := range tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: no init functions: what is needed is passed in", set.Position(f.Pos()))
			}
		}
		for _, call := range calls(tree, "os") {
			switch call.Sel.Name {
			case "Exit":
				if file != "cmd/syncfs/main.go" {
					t.Errorf("%s: only main exits", set.Position(call.Pos()))
				}
			case "Stdout", "Stderr", "Stdin":
				if file != "cmd/syncfs/main.go" {
					t.Errorf("%s: os.%s is main's: streams are passed in", set.Position(call.Pos()), call.Sel.Name)
				}
			}
		}
		for _, call := range calls(tree, "fmt") {
			if name := call.Sel.Name; name == "Print" || name == "Println" || name == "Printf" {
				t.Errorf("%s: fmt.%s prints behind the command's back", set.Position(call.Pos()), name)
			}
		}
	})
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	said := map[string]bool{}
	sources(t, func(dir, _ string, tree *ast.File, _ *token.FileSet) {
		said[dir] = said[dir] || tree.Doc != nil && len(tree.Doc.Text()) > 20
	})
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func TestFilesStaySmall(t *testing.T) {
	const most = 500
	sources(t, func(_, file string, _ *ast.File, _ *token.FileSet) {
		data, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(data), "\n"); n > most {
			t.Errorf("%s has %d lines: one thing a file, at most %d lines", file, n, most)
		}
	})
}
