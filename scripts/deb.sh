#!/usr/bin/env bash
# Build dist/syncfs_VERSION_ARCH.deb: scripts/deb.sh [amd64|arm64]
#
# By dpkg-deb alone: the package is one static program and text. With PROGRAM it
# packs that one, for a test of the package; OUT is where the result goes, and
# COMPRESS how it is compressed (xz).
# NO_LINTIAN=1 skips the check of the result.
set -euo pipefail
cd "$(dirname "$0")/.."
arch=${1:-$(dpkg --print-architecture)}
version=$(scripts/version.sh)
when=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH=$when
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
umask 022

flags="-s -w -X main.version=$version"
if [ -n "${PROGRAM:-}" ]; then
	cp "$PROGRAM" "$work/syncfs"
else
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -ldflags "$flags" -o "$work/syncfs" ./cmd/syncfs
fi
run=$work/syncfs
if [ "$arch" != "$(go env GOHOSTARCH)" ]; then
	run=$work/syncfs-here
	CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$run" ./cmd/syncfs
fi
PREFIX=/usr RUN=$run scripts/install.sh "$work/syncfs" "$root"

doc=$root/usr/share/doc/syncfs
install -d "$doc"
install -m 644 README.md ARCHITECTURE.md "$doc"
install -m 644 docs/*.md "$doc"
gzip -9nf "$doc/README.md" "$doc/ARCHITECTURE.md" "$doc/format.md"
install -m 644 packaging/copyright "$doc/copyright"
sed 's/^\*/  */' CHANGELOG.md | gzip -9nc >"$doc/NEWS.gz"
printf 'syncfs (%s) unstable; urgency=medium\n\n  * See NEWS.gz.\n\n -- The syncfs authors <syncfs@users.noreply.github.com>  %s\n' \
	"$version" "$(date -u -R -d "@$when")" | gzip -9nc >"$doc/changelog.gz"
install -D -m 644 packaging/lintian-overrides "$root/usr/share/lintian/overrides/syncfs"

control=$root/DEBIAN
install -d "$control"
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" \
	-e "s/@SIZE@/$(du -ks --exclude DEBIAN "$root" | cut -f 1)/" packaging/control >"$control/control"
for script in postinst prerm postrm config; do
	install -m 755 "packaging/$script" "$control/$script"
done
install -m 644 packaging/templates "$control/templates"
(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
chmod 644 "$control/md5sums" "$control/control"
find "$root" -newermt "@$when" -exec touch -h -d "@$when" {} +

mkdir -p "${OUT:=dist}"
out=$OUT/syncfs_${version}_$arch.deb
dpkg-deb --root-owner-group "-Z${COMPRESS:-xz}" --build "$root" "$out" >/dev/null
if [ -z "${NO_LINTIAN:-}" ]; then
	lintian --fail-on error,warning "$out"
fi
echo "$out"
