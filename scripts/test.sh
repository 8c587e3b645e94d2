#!/usr/bin/env bash
# Run all tests, by name, with no skip, and fail when they leave something
# behind. Arguments go to go test; packages default to all.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -c /dev/fuse ]; then
	echo "test: there is no /dev/fuse: load the module (modprobe fuse), or give the container the device" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "test: some tests mount disks and need root: sudo make test" >&2
	exit 1
fi

# Where no container engine can run, what needs one is not run, and that is said.
lacks=
packages=("$@")
if [ "$*" = ./... ] && ! said=$(scripts/engine.sh 2>&1); then
	lacks="a container engine ($said)"
	mapfile -t packages < <(go list ./... | grep -vE '/tests/(container|login)$')
fi

scripts/leftovers.sh >"$work/before"
status=0
start=$(date +%s)
# One package at a time: they start servers, agents and mounts of their own.
# What ran is shown by name; what it printed, only of what failed.
set +e # the pipe's parts are looked at one by one
go test -v -p 1 -timeout 24m "${packages[@]}" 2>&1 | tee "$work/log" | grep --line-buffered -aE '^ *--- |^(ok|FAIL|panic|fatal error|#|go: )'
status=${PIPESTATUS[0]}
set -e
if [ "$status" != 0 ]; then
	echo "=== what failed"
	grep -aE -B 80 -A 40 '^ *--- FAIL|^panic: |^fatal error: ' "$work/log" | cut -c 1-500 | tail -n 800 || true
fi

count() { grep -acE "$1" "$work/log" || true; }
passed=$(count '^ *--- PASS') failed=$(count '^ *--- FAIL') skipped=$(count '^ *--- SKIP')
echo "$passed tests passed, $failed failed, $skipped skipped, in $(($(date +%s) - start)) s"
if [ -n "$lacks" ]; then
	echo "test: this machine lacks $lacks: tests/container and tests/login were not run"
fi
if [ "$skipped" != 0 ]; then
	grep -aE '^ *--- SKIP' "$work/log"
	echo "test: no test may be skipped here" >&2
	status=1
fi

# What ends by itself gets a moment to do so.
for _ in $(seq 20); do
	scripts/leftovers.sh >"$work/after"
	comm -13 "$work/before" "$work/after" >"$work/left"
	[ -s "$work/left" ] || break
	sleep 0.5
done
if [ -s "$work/left" ]; then
	echo "test: left behind:" >&2
	cat "$work/left" >&2
	status=1
fi
exit "$status"
