//go:build linux

package container_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// project is a Compose project as Compose would have made it.
type project struct {
	t    testing.TB
	name string
}

func newProject(t testing.TB, name string) project {
	p := project{t, name}
	p.remove()
	t.Cleanup(p.remove)
	return p
}

// remove removes all that has the project's label.
func (p project) remove() {
	p.t.Helper()
	label := "label=com.docker.compose.project=" + p.name
	for _, step := range [][2][]string{
		{{"ps", "-aq", "--filter", label}, {"rm", "-fv"}},
		{{"volume", "ls", "-q", "--filter", label}, {"volume", "rm", "-f"}},
		{{"network", "ls", "-q", "--filter", label}, {"network", "rm"}},
	} {
		if ids := strings.Fields(docker(p.t, step[0]...)); len(ids) > 0 {
			docker(p.t, append(step[1], ids...)...)
		}
	}
}

func (p project) container(service string) string { return p.name + "-" + service + "-1" }

func (p project) network() {
	docker(p.t, "network", "create", "--label", "com.docker.compose.project="+p.name, "--label", "com.docker.compose.network=default", p.name+"_default")
}

// run starts a service. Volumes are NAME:PATH, with the project's name before.
func (p project) run(service string, volumes []string, args ...string) {
	p.t.Helper()
	line := []string{
		"run", "-d", "--name", p.container(service), "--stop-timeout", "2",
		"--label", "com.docker.compose.project=" + p.name, "--label", "com.docker.compose.service=" + service,
		"--label", "com.docker.compose.container-number=1", "--label", "com.docker.compose.oneoff=False",
		"--network", p.name + "_default", "--network-alias", service,
	}
	for _, v := range volumes {
		name, _, _ := strings.Cut(v, ":")
		docker(p.t, "volume", "create", "--label", "com.docker.compose.project="+p.name, "--label", "com.docker.compose.volume="+name, p.name+"_"+name)
		line = append(line, "-v", p.name+"_"+v)
	}
	docker(p.t, append(line, args...)...)
}

// eventually runs a program in a container until it succeeds.
func (p project) eventually(service string, args ...string) {
	p.t.Helper()
	world.Eventually(p.t, 2*time.Minute, service+" answers", func() error {
		_, err := host.docker("", append([]string{"exec", p.container(service)}, args...)...)
		return err
	})
}

func (p project) exec(service string, args ...string) string {
	p.t.Helper()
	return docker(p.t, append([]string{"exec", p.container(service)}, args...)...)
}

// page is what the web application shows.
func (p project) page() string {
	p.t.Helper()
	return p.exec("web", "php", "-r", `echo file_get_contents("http://127.0.0.1/");`)
}

func (p project) sql(query string) string {
	p.t.Helper()
	return p.exec("db", "psql", "-XAt", "-U", "shop", "-d", "shop", "-c", query)
}

const index = `<?php
$db = new PDO('pgsql:host=db;dbname=shop', 'shop', 'secret');
echo $db->query("select count(*) || ' orders for ' || sum(amount) from orders")->fetchColumn(), "\n";
foreach (glob('/var/www/uploads/*') as $f) if (is_file($f)) echo basename($f), ' ', md5_file($f), "\n";
`

const content = `
create extension pg_trgm;
create role reader login password 'r3ad';
create table orders(id int primary key, customer text, amount numeric);
insert into orders select i, md5(i::text), i % 977 from generate_series(1,200000) i;
create index on orders using gin (customer gin_trgm_ops);
grant select on orders to reader;
create table clicks(at timestamptz default now(), what text);
select lo_from_bytea(4711, decode(repeat('00ff1234', 100000),'hex'));
`

// shop starts a web application over PostgreSQL, with uploads, Redis and a wiki in
// MariaDB, and fills it.
func shop(t testing.TB, name string) project {
	t.Helper()
	p := newProject(t, name)
	p.network()
	dir := t.TempDir()
	compose := filepath.Join(dir, "docker-compose.yml")
	for file, text := range map[string]string{compose: "services:\n  web: {image: " + image + "}\n", filepath.Join(dir, ".env"): "SHOP_TOKEN=t0ken\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := []string{"--label", "com.docker.compose.project.config_files=" + compose, "--label", "com.docker.compose.project.working_dir=" + dir}
	p.run("db", []string{"db:/var/lib/postgresql/data"}, append(made, "-e", "POSTGRES_USER=shop", "-e", "POSTGRES_PASSWORD=secret", image, "run-postgres")...)
	p.run("cache", []string{"cache:/data"}, append(made, image, "redis-server", "--dir", "/data", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "")...)
	p.run("wiki", []string{"wiki:/var/lib/mysql"}, append(made, "-e", "MARIADB_ROOT_PASSWORD=secret", image, "run-mariadb")...)
	p.run("web", []string{"files:/var/www/html", "uploads:/var/www/uploads"}, append(made,
		"--label", "com.docker.compose.depends_on=db:service_started:false,cache:service_started:false", "-p", "8080:80",
		"--health-interval", "1s", "--health-cmd", `php -r 'exit(@file_get_contents("http://127.0.0.1/") ? 0 : 1);'`,
		image, "php", "-S", "0.0.0.0:80", "-t", "/var/www/html")...)
	p.eventually("db", "pg_isready", "-q", "-h", "127.0.0.1")
	dockerIn(t, content, "exec", "-i", p.container("db"), "psql", "-qv", "ON_ERROR_STOP=1", "-U", "shop", "-d", "shop")
	p.eventually("wiki", "mariadb-admin", "-uroot", "-psecret", "--protocol=tcp", "-h", "127.0.0.1", "ping")
	p.eventually("wiki", "mariadb", "-uroot", "-psecret", "-e", `create database if not exists wiki; use wiki;
create or replace table page(id int primary key, text text); insert into page select seq, md5(seq) from seq_1_to_5000;
create user if not exists writer@'%' identified by 'x'; grant all on wiki.* to writer@'%'`)
	p.eventually("cache", "redis-cli", "set", "greeting", "hello")
	dockerIn(t, index, "exec", "-i", p.container("web"), "sh", "-ec", `cat >/var/www/html/index.php
cd /var/www/uploads
mkdir a
head -c 3000000 /dev/urandom >a/photo
ln a/photo same
truncate -s 5M sparse
printf data | dd of=sparse bs=1 seek=3000000 conv=notrunc 2>/dev/null
printf x >'odd
name \ '
ln -s a/photo link
chown -R 33:44 .
chmod 6750 a
chmod 640 sparse
touch -d '2024-02-03 04:05:06.789' a/photo`)
	world.Eventually(t, 2*time.Minute, "the page is there", func() error {
		if page := p.page(); !strings.Contains(page, "200000 orders") {
			return errors.New(page)
		}
		return nil
	})
	return p
}

// state is all that a restore has to bring back, as the containers see it.
func (p project) state() map[string]string {
	p.t.Helper()
	tree := `cd %s && find . -mindepth 1 -printf '%%P %%y %%m %%U:%%G %%s %%n %%T@ %%l\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum`
	return map[string]string{
		"page":       p.page(),
		"uploads":    p.exec("web", "sh", "-c", fmt.Sprintf(tree, "/var/www/uploads")),
		"files":      p.exec("web", "sh", "-c", fmt.Sprintf(tree, "/var/www/html")),
		"orders":     p.sql(`select count(*), sum(amount), md5(string_agg(customer, ',' order by id)) from orders`),
		"object":     p.sql(`select md5(lo_get(4711))`),
		"roles":      p.sql(`select rolname, rolpassword from pg_authid where rolname in ('reader', 'shop') order by 1`),
		"grants":     p.sql(`select relacl from pg_class where relname = 'orders'`),
		"extensions": p.sql(`select extname from pg_extension order by 1`),
		"indexes":    p.sql(`select indexdef from pg_indexes where tablename = 'orders' order by 1`),
		"greeting":   p.exec("cache", "redis-cli", "get", "greeting"),
		"wiki":       p.exec("wiki", "mariadb", "-uroot", "-psecret", "-BNe", `select count(*), md5(group_concat(text order by id)) from wiki.page; show grants for writer@'%'`),
	}
}
