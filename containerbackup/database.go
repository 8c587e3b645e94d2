package containerbackup

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/client"
)

// Kinds of databases that are dumped by their own tools. Others are saved as the
// files they are, while they hold still.
const (
	postgres = "postgresql"
	mariadb  = "mariadb"
	redis    = "redis"
)

// database is what runs in a container.
type database struct {
	kind    string
	version string
	dir     string // where its files are
}

// holds tells whether what is mounted at destination is in its dumps, so that
// the files need not be read: they would be of no use, since they move. Redis'
// are read as well, for its append-only file.
func (b *database) holds(destination string) bool {
	return b.kind != redis && b.dir != "" && (b.dir == destination || strings.HasPrefix(b.dir, strings.TrimSuffix(destination, "/")+"/"))
}

// dialect is how one kind of database is spoken to. The scripts run in the
// container, where its own environment says who may.
type dialect struct {
	programs []string // process names
	images   []string // parts of image names, where processes cannot be listed
	prelude  string   // sets up the account, then runs its arguments
	dir      string   // prints where its files are
	version  string   // prints its version
	list     string   // prints the names of its databases, one a line; "": all are in one dump
	dumps    []dumpScript
	ready    string // succeeds when it answers
	load     string // reads a dump of one database, or of all, from stdin
	remedy   string // what a user can do who is not let in
}

// dumpScript makes one dump: of the database $1 where each is set.
type dumpScript struct {
	file string // %s is the database
	each bool
	run  string
	ends string // what the end of a whole dump has in it, as a regular expression
	load string // reads it back; "": the dialect's
}

func dialects() map[string]dialect {
	return map[string]dialect{
		postgres: {
			programs: []string{"postgres", "postmaster"},
			images:   []string{"postgres", "postgis", "timescale", "pgvector"},
			prelude: `export PGUSER="${POSTGRES_USER:-postgres}" PGCONNECT_TIMEOUT=10
if [ -n "$POSTGRES_PASSWORD_FILE" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
if [ -n "$POSTGRES_PASSWORD" ]; then export PGPASSWORD="$POSTGRES_PASSWORD"; fi
`,
			dir:     `psql -XAtw -d template1 -c 'show data_directory'`,
			version: `psql -XAtw -d template1 -c 'show server_version'`,
			list:    `psql -XAtw -d template1 -c 'select datname from pg_database where datallowconn and not datistemplate order by 1'`,
			dumps: []dumpScript{
				{file: "globals.sql", run: `exec pg_dumpall -w --globals-only`, ends: `PostgreSQL database cluster dump complete`, load: `exec psql -Xqw -d template1`},
				{file: "%s.sql", each: true, run: `exec pg_dump -w --create --clean --if-exists -- "$1"`, ends: `PostgreSQL database dump complete`},
			},
			// A first start has a server of its own that listens on no address.
			ready:  `exec pg_isready -q -h 127.0.0.1`,
			load:   `exec psql -Xqw -v ON_ERROR_STOP=1 -d template1`,
			remedy: "give its container POSTGRES_USER and POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE), or the label syncfs.backup.user with an account in the container that is let in",
		},
		mariadb: {
			programs: []string{"mariadbd", "mysqld"},
			images:   []string{"mariadb", "mysql", "percona"},
			prelude: `for f in "$MARIADB_ROOT_PASSWORD_FILE" "$MYSQL_ROOT_PASSWORD_FILE"; do if [ -n "$f" ]; then MYSQL_PWD=$(cat "$f"); fi; done
MYSQL_PWD="${MYSQL_PWD:-${MARIADB_ROOT_PASSWORD:-$MYSQL_ROOT_PASSWORD}}"
if [ -n "$MYSQL_PWD" ]; then export MYSQL_PWD; else unset MYSQL_PWD; fi
either() { if command -v "$1" >/dev/null; then echo "$1"; else echo "$2"; fi; }
sql=$(either mariadb mysql); dump=$(either mariadb-dump mysqldump); admin=$(either mariadb-admin mysqladmin)
`,
			dir:     `$sql -uroot -BN -e 'select @@datadir'`,
			version: `$sql -uroot -BN -e 'select version()'`,
			dumps: []dumpScript{
				{file: "all.sql", run: `exec $dump -uroot --all-databases --single-transaction --quick --routines --events --triggers --hex-blob --flush-privileges --skip-dump-date`, ends: `-- Dump completed`},
			},
			ready:  `exec $admin -uroot --protocol=tcp -h 127.0.0.1 ping >/dev/null`,
			load:   `exec $sql -uroot`,
			remedy: "give its container MARIADB_ROOT_PASSWORD or MYSQL_ROOT_PASSWORD (or the same with _FILE), or the label syncfs.backup.user with an account in the container that is let in",
		},
		redis: {
			programs: []string{"redis-server", "valkey-server"},
			images:   []string{"redis", "valkey"},
			prelude: `if [ -n "$REDIS_PASSWORD" ]; then export REDISCLI_AUTH="$REDIS_PASSWORD"; fi
if command -v redis-cli >/dev/null; then cli=redis-cli; else cli=valkey-cli; fi
r() { $cli "$@"; }
`,
			dir:     `r CONFIG GET dir | sed -n 2p`,
			version: `r INFO server | sed -n 's/^redis_version:\([^[:cntrl:]]*\).*/\1/p'`,
			// The end of the data, then eight bytes of checksum.
			dumps: []dumpScript{{file: "dump.rdb", ends: `(?s)\xff.{8}$`, run: `r BGSAVE SCHEDULE >&2
while r INFO persistence | grep -q '^rdb_bgsave_in_progress:1'; do sleep 0.1; done
r INFO persistence | grep -q '^rdb_last_bgsave_status:ok' || { echo 'redis could not write its dump' >&2; exit 1; }
exec cat "$(r CONFIG GET dir | sed -n 2p)/$(r CONFIG GET dbfilename | sed -n 2p)"`}},
			ready:  `[ "$(r PING)" = PONG ]`,
			remedy: "give its container REDIS_PASSWORD",
		},
	}
}

// script is a command in a container that speaks to its database.
func (d dialect) script(run string, args ...string) []string {
	return append([]string{"sh", "-c", d.prelude + run, "sh"}, args...)
}

// database finds out whether a database runs in a container; nil: none.
func (e *Engine) database(ctx context.Context, m *member) (*database, error) {
	if !m.running() || m.inspect.State.Paused || m.wishes.Skip {
		return nil, nil
	}
	kind := e.kindOf(ctx, m)
	if kind == "" {
		return nil, nil
	}
	b := &database{kind: kind}
	d := dialects()[kind]
	for _, ask := range []struct {
		into   *string
		script string
	}{{&b.dir, d.dir}, {&b.version, d.version}} {
		answer, err := e.output(ctx, m.inspect.ID, command{args: d.script(ask.script), user: m.wishes.User})
		if err != nil {
			return nil, notLetIn(m, kind, err)
		}
		*ask.into = answer
	}
	b.dir = path.Clean(b.dir)
	return b, nil
}

// notLetIn says what to do where a database refuses.
func notLetIn(m *member, kind string, err error) error {
	return fmt.Errorf("%w: %s in container %s: %w\n%s", ErrDump, kind, m.name(), err, dialects()[kind].remedy)
}

// kindOf finds the kind by what runs, else by what the image is called.
func (e *Engine) kindOf(ctx context.Context, m *member) string {
	top, err := e.api.ContainerTop(ctx, m.inspect.ID, client.ContainerTopOptions{Arguments: []string{"-eo", "pid,args"}})
	for _, kind := range []string{postgres, mariadb, redis} {
		d := dialects()[kind]
		if err != nil {
			name := path.Base(m.inspect.Config.Image)
			if slices.ContainsFunc(d.images, func(part string) bool { return strings.Contains(name, part) }) {
				return kind
			}
			continue
		}
		for _, row := range top.Processes {
			if len(row) > 0 && slices.Contains(d.programs, programOf(row[len(row)-1])) {
				return kind
			}
		}
	}
	return ""
}

// programOf is the name of the program in a line of ps.
func programOf(line string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return strings.TrimSuffix(path.Base(first), ":")
}
