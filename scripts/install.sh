#!/usr/bin/env bash
# Install a program and what belongs to it: scripts/install.sh PROGRAM [DESTDIR]
#
# Below $DESTDIR$PREFIX (/usr/local). RUN is the program that writes pages and
# completions, when PROGRAM is for another machine.
set -euo pipefail
program=$1 dest=${2:-} prefix=${PREFIX:-/usr/local} run=${RUN:-$1}
run=$(realpath "$run")
here=$(dirname "$0")
root=$dest$prefix
# Links are relative, so that they hold below DESTDIR as well.
# systemd, mount(8) and the shells look into few directories only.
if [ "$prefix" = /usr ]; then
	sbin=$dest/usr/sbin units=$dest/usr/lib/systemd/user zsh=vendor-completions
else
	sbin=$dest/sbin units=$dest/etc/systemd/user zsh=site-functions
fi

install -D -m 755 "$program" "$root/bin/syncfs"

# mount -t syncfs, mount -t fuse.syncfs, fstab
install -d "$sbin"
ln -sfnr "$root/bin/syncfs" "$sbin/mount.syncfs"
ln -sfnr "$root/bin/syncfs" "$sbin/mount.fuse.syncfs"

install -d "$units"
"$run" __unit "$prefix/bin/syncfs" >"$units/syncfs.service"
chmod 644 "$units/syncfs.service"

man=$root/share/man
rm -f "$man"/man1/syncfs*.1.gz
install -d "$man/man1" "$man/man8"
"$run" man "$man/man1"
gzip -9nf "$man"/man1/syncfs*.1
gzip -9nc "$here/../docs/mount.syncfs.8" >"$man/man8/mount.syncfs.8.gz"
ln -sf mount.syncfs.8.gz "$man/man8/mount.fuse.syncfs.8.gz"
chmod 644 "$man"/man1/syncfs*.1.gz "$man/man8/mount.syncfs.8.gz"

completion() {
	install -d "$(dirname "$2")"
	"$run" completion "$1" >"$2"
	chmod 644 "$2"
}
completion bash "$root/share/bash-completion/completions/syncfs"
completion zsh "$root/share/zsh/$zsh/_syncfs"
completion fish "$root/share/fish/vendor_completions.d/syncfs.fish"
