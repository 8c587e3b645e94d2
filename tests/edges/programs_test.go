//go:build linux

package edges

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncfs/syncfs/tests/world"
)

// Two machines commit in one working copy, by turns, as somebody does who goes
// from the desk to the train.
func TestGitByTurns(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	env := []string{"HOME=" + p.a.Dir, "GIT_CONFIG_NOSYSTEM=1"}
	world.Sh(t, p.a.dir, `
		git config --global --add safe.directory '*'; git config --global user.name t; git config --global user.email t@localhost
		git init -q -b main work && cd work
		for i in $(seq 60); do mkdir -p d$((i % 7)); seq $((i * 20)) > d$((i % 7))/f$i; done; git add -A; git commit -qm first`, env...)
	p.settled()
	turns := 6
	if soak() {
		turns = 60
	}
	for i := range turns {
		m, other := p.a, p.b
		if i%2 == 1 {
			m, other = p.b, p.a
		}
		world.Sh(t, m.dir, fmt.Sprintf(`cd work
			git status --porcelain | (! grep .)
			echo turn %[1]d >> d1/f1; seq %[1]d > d2/new%[1]d; git mv d3/f3 d3/moved 2>/dev/null || git mv d3/moved d3/f3
			git add -A; git commit -qm 'turn %[1]d'
			[ $((%[1]d %% 3)) != 2 ] || { git checkout -qb side%[1]d; echo side%[1]d > side; git add side; git commit -qm side; git checkout -q main; git merge -q --no-ff -m merge side%[1]d; git gc -q --prune=now; }`, i), env...)
		p.settled()
		for _, at := range []machine{m, other} {
			world.Sh(t, at.dir, fmt.Sprintf(`cd work; git fsck --full --strict 2>&1 | (! grep -v -e '^Checking' -e '^dangling'); git status --porcelain | (! grep .); git log --oneline | grep -c 'turn %d'`, i), env...)
		}
	}
	p.clean()
}

// A tree is compiled on one machine while it is sent, and edited on the other.
func TestATreeIsCompiledWhileItIsSent(t *testing.T) {
	t.Parallel()
	n := 40
	if soak() {
		n = 400
	}
	sources := func(dir string) {
		src := filepath.Join(dir, "src")
		if err := os.MkdirAll(filepath.Join(src, "obj"), 0o755); err != nil {
			t.Fatal(err)
		}
		calls, decls := "", ""
		for i := range n {
			write(t, src, fmt.Sprintf("part%d.c", i), fmt.Sprintf("#include \"common.h\"\nint part%d(int x) { return (x * FACTOR + %d) ^ %d; }\n", i, i, i*31))
			calls += fmt.Sprintf("\tx = part%d(x);\n", i)
			decls += fmt.Sprintf("int part%d(int);\n", i)
		}
		write(t, src, "common.h", "#define FACTOR 3\n")
		write(t, src, "main.c", "#include <stdio.h>\n#include \"common.h\"\n"+decls+"int main(void) {\n\tint x = 1;\n"+calls+"\tprintf(\"%d\\n\", x);\n\treturn 0;\n}\n")
		write(t, src, "Makefile", "OBJ = $(patsubst %.c,obj/%.o,$(wildcard *.c))\nprog: $(OBJ)\n\t$(CC) -o $@ $^\nobj/%.o: %.c common.h\n\t$(CC) -c -o $@.tmp $< && mv $@.tmp $@\nclean:\n\trm -f obj/* prog\n")
	}
	p := newPair(t, sources)
	plain := t.TempDir()
	sources(plain)
	build := `cd src && make -s -j2 CC='gcc -frandom-seed=1 -Wl,--build-id=none'`
	world.Sh(t, p.a.dir, build)
	write(t, p.b.dir, "notes", "written on b while a compiles")
	world.Sh(t, p.a.dir, `sleep 0.7; touch src/common.h; (`+build+`); make -s -C src clean; `+build)
	p.settled()
	p.clean()
	world.Sh(t, plain, build)
	for _, m := range []machine{p.a, p.b} {
		world.Sh(t, m.dir, `cmp src/prog "$PLAIN/src/prog" && src/prog > /dev/null && make -s -C src -q prog`, "PLAIN="+plain)
	}
	// And where it came to: it goes on there.
	world.Sh(t, p.b.dir, `echo '#define FACTOR 5' > src/common.h;`+build)
	p.settled()
	p.clean()
	world.Sh(t, plain, `echo '#define FACTOR 5' > src/common.h;`+build)
	world.Sh(t, p.a.dir, `cmp src/prog "$PLAIN/src/prog"`, "PLAIN="+plain)
}
