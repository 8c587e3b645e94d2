//go:build linux

// Package apps runs other people's programs inside a mounted folder: what works
// on a plain directory works there, and what they wrote comes back whole.
package apps

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/syncfs/syncfs/tests/world"
)

// mounted is a home with a folder "docs" mounted over itself, on a server.
func mounted(t *testing.T) (h *world.Home, dir string) {
	t.Helper()
	h = world.NewHome(t, "")
	// Programs of other users enter as well (PostgreSQL does not run as root).
	for p := h.Dir; len(p) > len(os.TempDir()); p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.Init(world.NewServer(t, ""))
	h.StartAgent()
	dir = h.Path("Documents")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Run("add", dir, "--name", "docs")
	if len(world.Mounts(dir)) != 1 {
		t.Fatalf("%s is not mounted", dir)
	}
	return h, dir
}

// comesBack flushes and restores the folder elsewhere: it must be the same.
func comesBack(t *testing.T, h *world.Home, dir string) {
	t.Helper()
	h.Run("flush", "docs", "--timeout", "120s")
	out := filepath.Join(t.TempDir(), "restored")
	h.Run("restore", dir+"@latest", "--target", out)
	world.SameTree(t, out, dir)
}

func TestGitWorksInTheMount(t *testing.T) {
	h, dir := mounted(t)
	world.Sh(t, dir, `
		git config --global --add safe.directory '*'
		git init -q -b main origin && cd origin
		git config user.name t && git config user.email t@localhost
		for i in $(seq 1 40); do
			mkdir -p d$((i % 7)); seq 1 $((i * 50)) > d$((i % 7))/f$i; git add -A; git commit -qm "commit $i"
		done
		git branch side HEAD~10 && git checkout -q side && echo x > x && git add x && git commit -qm x && git checkout -q main && git merge -q -m merge side
		cd .. && git clone -q --no-local origin clone && cd clone
		git gc -q --aggressive --prune=now && git fsck --full --strict && git status --porcelain | (! grep .)
		git worktree add -q ../tree HEAD~3 && git -C ../tree log --oneline | wc -l
		git repack -adq && git fsck`, "HOME="+h.Dir)
	comesBack(t, h, dir)
	world.Sh(t, dir, `git -C clone fsck --full && git -C clone diff --exit-code`, "HOME="+h.Dir)
}

func TestSQLiteWorksInTheMount(t *testing.T) {
	h, dir := mounted(t)
	for _, mode := range []string{"delete", "wal"} {
		got := world.Sh(t, dir, `
			db=`+mode+`.db
			sqlite3 $db 'pragma journal_mode=`+mode+`; create table t(id integer primary key, v text);' >/dev/null
			for w in 1 2 3; do
				( for i in $(seq 1 60); do echo "pragma busy_timeout=60000; insert into t(v) values(hex(randomblob(500)));"; done | sqlite3 $db >/dev/null ) &
			done
			wait
			sqlite3 $db 'pragma integrity_check; select count(*) from t;'`)
		if want := "ok\n180\n"; got != want {
			t.Errorf("journal mode %s: got %q, want %q", mode, got, want)
		}
	}
	comesBack(t, h, dir)
}

func TestPostgreSQLWorksInTheMount(t *testing.T) {
	h, dir := mounted(t)
	world.Sh(t, dir, `
		bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
		run=$(mktemp -d) && chown postgres $run
		mkdir pg && chown postgres pg && chmod 700 pg
		as() { setpriv --reuid=postgres --regid=postgres --init-groups "$@"; }
		as $bin/initdb -D $PWD/pg -A trust >/dev/null
		as $bin/pg_ctl -D $PWD/pg -w -l $run/log -o "-k $run -c listen_addresses= -c fsync=on" start >/dev/null || { cat $run/log; exit 1; }
		trap 'as $bin/pg_ctl -D $PWD/pg -m fast -w stop >/dev/null || true; rm -rf $run' EXIT
		as $bin/createdb -h $run bench
		as $bin/pgbench -h $run -q -i -s 2 bench 2>/dev/null
		as $bin/pgbench -h $run -c 4 -j 2 -T 10 bench
		test "$(as $bin/psql -h $run -At -c 'select sum(abalance) from pgbench_accounts' bench)" = \
		     "$(as $bin/psql -h $run -At -c 'select sum(delta) from pgbench_history' bench)"
		as $bin/psql -h $run -At -c 'vacuum full analyze' bench
		as $bin/pg_ctl -D $PWD/pg -m fast -w stop >/dev/null`)
	comesBack(t, h, dir)
}

func TestFioVerifiesInTheMount(t *testing.T) {
	_, dir := mounted(t)
	for name, opt := range map[string]string{
		"random writes":     "--rw=randwrite --bs=4k --ioengine=psync",
		"direct":            "--rw=randwrite --bs=4k --ioengine=psync --direct=1",
		"mapped":            "--rw=randwrite --bs=4k --ioengine=mmap",
		"sequential writes": "--rw=write --bs=128k --ioengine=psync --fsync=16",
		"appending readers": "--rw=randrw --bs=8k --ioengine=libaio --iodepth=8",
	} {
		t.Run(name, func(t *testing.T) {
			world.Sh(t, dir, `fio --name=v --directory=. --size=32m --verify=crc32c --verify_fatal=1 --do_verify=1 --output=/dev/null `+opt+` && rm -f v.*`)
		})
	}
}

func TestABuildRunsInTheMount(t *testing.T) {
	h, dir := mounted(t)
	world.Sh(t, dir, `
		for i in $(seq 1 60); do printf 'int f%d(void){return %d;}\n' $i $i > f$i.c; done
		{ echo 'all: prog'; echo 'OBJ=$(patsubst %.c,%.o,$(wildcard f*.c)) main.o'; echo 'prog: $(OBJ)'; printf '\tcc -o $@ $^\n'; } > Makefile
		{ for i in $(seq 1 60); do echo "int f$i(void);"; done; echo 'int main(void){int s=0;'; for i in $(seq 1 60); do echo "s+=f$i();"; done; echo 'return s==1830?0:1;}'; } > main.c
		make -s -j4 && ./prog && make -q && touch f7.c && ! make -q && make -s && ./prog
		tar -cf ../t.tar . && mkdir ../copy && tar -C ../copy -xf ../t.tar && diff -r --exclude=.versions . ../copy`)
	comesBack(t, h, dir)
}
