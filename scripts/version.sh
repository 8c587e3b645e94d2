#!/usr/bin/env bash
# The version of a package: $VERSION, or what git says: a tag, or the commit's
# time and name, so that a later commit is a higher version.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${VERSION:-}" ]; then
	echo "${VERSION#v}"
elif tag=$(git describe --tags --exact-match 2>/dev/null); then
	echo "${tag#v}"
else
	TZ=UTC git log -1 --date=format-local:%Y%m%d%H%M%S --format='0.0.0+%cd.%h'
fi
