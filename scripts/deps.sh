#!/usr/bin/env bash
# Install what a target needs and this machine lacks: scripts/deps.sh build|run|deb|test|bench
#
# On Debian and its relatives by apt-get, as root or through sudo. Elsewhere it
# only says what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.tools/go/bin:$PATH:/usr/local/go/bin"

# want COMMAND PACKAGE: PACKAGE is missing unless COMMAND is there.
missing=()
want() {
	PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		echo "deps: this needs root: $*" >&2
		exit 1
	fi
}

install_missing() {
	[ ${#missing[@]} -gt 0 ] || return 0
	if ! command -v apt-get >/dev/null; then
		echo "deps: please install: ${missing[*]}" >&2
		exit 1
	fi
	echo "deps: installing ${missing[*]}"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}"
	missing=()
}

# Go: what go.mod asks for. A go of 1.21 or later fetches that by itself, an
# older one (Debian 12 has 1.19) can still fetch it as a module, verified like
# any other.
wanted_go() { awk '$1 == "go" { print $2 }' go.mod; }

# go_minor GO prints the N of the 1.N that GO is.
go_minor() {
	(cd / && GOTOOLCHAIN=local "$1" version 2>/dev/null) | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p'
}

need_go() {
	local minor want
	want=$(wanted_go)
	if ! command -v go >/dev/null; then
		missing+=(golang-go ca-certificates)
		install_missing
	fi
	minor=$(go_minor go)
	if [ -z "$minor" ]; then
		echo "deps: $(command -v go) does not work" >&2
		exit 1
	fi
	[ "$minor" -lt 21 ] || return 0
	fetch_go "$want"
}

# fetch_go VERSION puts that toolchain into .tools/go with the help of an old go.
fetch_go() {
	local module tmp
	module="golang.org/toolchain@v0.0.1-go$1.linux-$(go env GOARCH)"
	echo "deps: fetching Go $1"
	tmp=$(mktemp -d)
	(
		cd "$tmp"
		echo 'module fetch' >go.mod
		GOMODCACHE="$tmp/cache" go mod download "$module"
	)
	rm -rf .tools/go
	mkdir -p .tools
	cp -r "$tmp/cache/$module" .tools/go
	chmod -R u+w "$tmp" .tools/go
	rm -rf "$tmp"
	# A module's zip keeps neither these names nor these bits.
	find .tools/go -name _go.mod -exec sh -c 'mv "$1" "${1%/*}/go.mod"' _ {} \;
	chmod +x .tools/go/bin/* .tools/go/pkg/tool/*/*
}

case "${1:-build}" in
build) ;;
run)
	want fusermount3 fuse3
	;;
deb)
	want dpkg-deb dpkg
	want lintian lintian
	want gzip gzip
	want git git
	;;
test | bench)
	want fusermount3 fuse3
	want getfattr attr
	want setfacl acl
	want git git
	want curl curl
	want sqlite3 sqlite3
	[ -n "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || missing+=(postgresql)
	want fio fio
	want strace strace
	want xfs_io xfsprogs
	want mkfs.xfs xfsprogs
	want mkfs.ext4 e2fsprogs
	want unshare util-linux
	want losetup mount
	want ip iproute2
	want inotifywait inotify-tools
	want iptables iptables
	want ps procps
	want dockerd docker.io
	# Newer releases have the command in a package of its own.
	if apt-cache show docker-cli >/dev/null 2>&1; then want docker docker-cli; else want docker docker.io; fi
	want debootstrap debootstrap
	want mkfs.exfat exfatprogs
	want mount.exfat-fuse exfat-fuse
	want bzip2 bzip2
	want xz xz-utils
	want gcc gcc # for -race
	want dpkg-deb dpkg
	[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
	;;
*)
	echo "deps: build, run, deb, test or bench, not $1" >&2
	exit 1
	;;
esac
if [ "${1:-build}" = bench ]; then
	want restic restic
	want borg borgbackup
	want rclone rclone
	want bindfs bindfs
	want gocryptfs gocryptfs
	want syncthing syncthing
	want rsync rsync
	want unison unison
	[ -e /usr/src/linux-source-6.1.tar.xz ] || missing+=(linux-source-6.1)
fi
install_missing
need_go
