#!/usr/bin/env bash
# Measure syncfs beside other tools, in turns, on the tree of linux-source-6.1.
# BENCH_ARGS go to the first benchmark (backups), LIVE_ARGS to the second (the
# live mount), SYNC_ARGS to the third (two machines). ONLY=backup|livemount|sync
# runs one of them.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/var/tmp}/syncfs-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

tar -C "$work" -xf /usr/src/linux-source-6.1.tar.xz
# run NAME ARGS...: one benchmark, unless another was asked for.
run() {
	[ "${ONLY:-$1}" = "$1" ] || return 0
	go run "./tests/bench/$1" "${@:2}"
}

# shellcheck disable=SC2086 # arguments are words
run backup -src "$work/linux-source-6.1" -syncfs bin/syncfs ${BENCH_ARGS:-}
# shellcheck disable=SC2086
run livemount ${LIVE_ARGS:-}
# shellcheck disable=SC2086
run sync -src "$work/linux-source-6.1" -work "$work" -syncfs bin/syncfs ${SYNC_ARGS:-}
