#!/usr/bin/env bash
# Tell whether a container engine runs on this machine, by running one for a
# moment. What it says when it does not is on stderr.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
dir=$(mktemp -d /var/tmp/syncfs-engine-XXXXXX)
unshare --net --mount --pid --fork --kill-child --mount-proc sh -c 'ip link set lo up && exec dockerd "$@"' sh \
	--data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" -H "unix://$dir/sock" --bridge none >"$dir/log" 2>&1 &
engine=$!
trap 'kill -9 $engine 2>/dev/null || true; wait $engine 2>/dev/null || true; sleep 1; rm -rf "$dir" || true' EXIT
for _ in $(seq 300); do
	if DOCKER_HOST=unix://$dir/sock DOCKER_CONFIG=$dir docker version >/dev/null 2>&1; then
		exit 0
	fi
	kill -0 $engine 2>/dev/null || break
	sleep 0.2
done
tail -n 3 "$dir/log" >&2
exit 1
