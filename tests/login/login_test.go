//go:build linux

// Package login runs the package on a Debian that systemd has booted: installed
// by apt, started by a login, killed, rebooted, upgraded, purged.
package login_test

import (
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

func TestItJustRunsAfterLogin(t *testing.T) {
	m := bootMachine(t)
	m.install("1.0")
	logout := m.login()
	m.ann(`mkdir Documents; echo one > Documents/file
		syncfs init ` + server + ` --key ` + world.Key + `
		syncfs add ~/Documents
		syncfs login enable`)
	// The agent that add had started has handed over to the service.
	m.annUntil("the service serves the folder", mounted+` && syncfs flush`)
	first := m.pid()

	t.Log("logout and login")
	logout()
	m.gone()
	m.root("test -z \"$(grep fuse.syncfs /proc/mounts)\" && test \"$(cat /home/ann/Documents/file)\" = one && echo two > /home/ann/Documents/while-away && chown ann: /home/ann/Documents/while-away")
	begin := time.Now()
	logout = m.login()
	m.annUntil("it is mounted after login", mounted)
	t.Logf("mounted %v after the login began", time.Since(begin).Round(10*time.Millisecond))
	m.annUntil("what was written meanwhile is a version", "syncfs flush && test \"$(syncfs cat Documents/while-away@latest)\" = two")
	t.Logf("synced %v after the login began", time.Since(begin).Round(10*time.Millisecond))
	second := m.pid()
	if second == first {
		t.Error("the agent outlived the logout")
	}

	t.Log("kill -9")
	m.ann("echo three > Documents/before-the-kill; kill -9 " + second)
	m.annUntil("it is started again and serves the folder",
		`test "$(systemctl --user show -P MainPID syncfs)" != `+second+` && `+mounted+` && test "$(cat Documents/before-the-kill)" = three && syncfs flush`)

	t.Log("a reboot with changes pending")
	m.stopServer()
	m.ann(`echo four > Documents/pending; for i in $(seq 600); do
		syncfs status --json | grep -q '"queued": [1-9]' && exit 0; sleep 0.1; done; syncfs status; exit 1`)
	logout()
	m.reboot()
	m.startServer()
	logout = m.login()
	m.annUntil("what was pending is sent after the reboot", mounted+` && syncfs flush`)
	m.docker.Run("exec", "-e", "HOME=/root", "-e", "SYNCFS_PASSWORD="+world.Passphrase, "server", "bash", "-euc",
		`syncfs connect `+server+` --key `+world.Key+`; mkdir /mnt/all; syncfs get Documents /mnt/all --no-mount; test "$(cat /mnt/all/pending)" = four`)

	t.Log("an upgrade while mounted")
	before := m.pid()
	m.ann("echo five > Documents/before-the-upgrade")
	m.install("1.1")
	m.annUntil("the new program has taken over",
		`test "$(systemctl --user show -P MainPID syncfs)" != `+before+` && `+mounted+` && test "$(cat Documents/before-the-upgrade)" = five && syncfs flush`)
	if exe := m.root("readlink /proc/" + m.pid() + "/exe"); exe != "/usr/bin/syncfs" {
		t.Errorf("the agent is %s", exe)
	}

	t.Log("mount(8) and fstab")
	m.ann("mkdir then now")
	m.root("mount -t syncfs -o setuid=ann,nosuid nosuchfolder /home/ann/then && exit 1; mount -t syncfs -o setuid=ann,bogus Documents /home/ann/then && exit 1; true")
	m.root(`echo 'Documents /home/ann/now fuse.syncfs noauto,user,_netdev 0 0
Documents /home/ann/then fuse.syncfs noauto,nofail,_netdev,setuid=ann,at=latest 0 0' >> /etc/fstab
		mount -t syncfs -o setuid=ann Documents /home/ann/then
		test "$(runuser -u ann -- cat /home/ann/then/file)" = one
		umount /home/ann/then`)
	m.ann(`mount ~/now; test "$(cat now/pending)" = four; ls now/.versions | grep -q latest; ! touch now/new; umount ~/now; ! grep /home/ann/now /proc/mounts`)
	// A unit has no HOME, no PATH and no terminal.
	m.root(`systemctl daemon-reload; systemctl start home-ann-then.mount`)
	m.ann(`test "$(cat then/file)" = one; ! test -e then/.versions`)
	m.root(`systemctl stop home-ann-then.mount; sed -i '\#/home/ann/#d' /etc/fstab; systemctl daemon-reload
		mount -t fuse.syncfs -o setuid=ann Documents /home/ann/Documents`) // served in place already

	t.Log("a passphrase, and where it comes from")
	m.ann("systemctl --user stop syncfs && ! " + mounted + " && syncfs key protect && systemctl --user start syncfs")
	m.annUntil("it is locked, and a plain directory", `syncfs status | grep -q locked && ! `+mounted+` && test "$(cat Documents/file)" = one`)
	m.ann("syncfs unlock && " + mounted)
	m.ann(`umask 077; printf '` + world.Passphrase + `' > secret; mkdir -p .config/systemd/user/syncfs.service.d
		printf '[Service]\nLoadCredential=syncfs.passphrase:%s\n' ~/secret > .config/systemd/user/syncfs.service.d/secret.conf
		systemctl --user daemon-reload; systemctl --user restart syncfs`)
	m.annUntil("the credential opens it", mounted)

	t.Log("linger, where logging out kills")
	m.root("mkdir -p /etc/systemd/logind.conf.d; printf '[Login]\\nKillUserProcesses=yes\\n' > /etc/systemd/logind.conf.d/kill.conf; systemctl restart systemd-logind; loginctl enable-linger ann")
	if out := m.ann("syncfs login status"); !strings.Contains(out, "from the machine's start on") {
		t.Errorf("login status: %s", out)
	}
	stays := m.pid()
	logout()
	m.until("the session has ended", func() error {
		_, err := m.docker.Try("exec", "machine", "bash", "-euc", "! loginctl list-sessions --no-legend | grep -w ann")
		return err
	})
	m.ann(mounted + `; test "$(systemctl --user show -P MainPID syncfs)" = ` + stays)
	m.reboot()
	m.annUntil("it is mounted after boot, with nobody logged in", mounted+` && test "$(cat Documents/pending)" = four`)

	t.Log("purge")
	m.root("DEBIAN_FRONTEND=noninteractive apt-get purge -y syncfs")
	m.until("nothing is mounted", func() error {
		_, err := m.docker.Try("exec", "machine", "bash", "-euc", "! grep fuse.syncfs /proc/mounts")
		return err
	})
	m.root(`test "$(cat /home/ann/Documents/file /home/ann/Documents/pending /home/ann/Documents/before-the-upgrade)" = "$(printf 'one\nfour\nfive')"
		test -s /home/ann/.local/state/syncfs/repository.json
		! command -v syncfs && ! test -e /usr/lib/systemd/user/syncfs.service && ! test -e /usr/sbin/mount.syncfs`)
}
