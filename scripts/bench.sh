#!/usr/bin/env bash
# Measure syncfs beside other tools, in turns, on the tree of linux-source-6.1.
# BENCH_ARGS go to the first benchmark, LIVE_ARGS to the second.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/var/tmp}/syncfs-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

tar -C "$work" -xf /usr/src/linux-source-6.1.tar.xz
# shellcheck disable=SC2086 # arguments are words
go run ./tests/bench/backup -src "$work/linux-source-6.1" -syncfs bin/syncfs ${BENCH_ARGS:-}
# shellcheck disable=SC2086
go run ./tests/bench/livemount ${LIVE_ARGS:-}
