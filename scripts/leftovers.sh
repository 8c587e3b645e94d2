#!/usr/bin/env bash
# What tests must not leave behind: FUSE mounts, loop devices, processes of
# ours. One line each, sorted, to be compared with what was there before.
set -euo pipefail
{
	awk '$3 ~ /^fuse/ { print "mount", $2, $3 }' /proc/self/mounts
	PATH="$PATH:/sbin:/usr/sbin" losetup --list --noheadings --output NAME,BACK-FILE 2>/dev/null | awk '{ print "loop", $1, $2 }'
	for exe in /proc/[0-9]*/exe; do
		target=$(readlink "$exe" 2>/dev/null) || continue
		case "${target##*/}" in
		syncfs | "syncfs (deleted)" | *.test | "*.test (deleted)" | dockerd)
			pid=${exe#/proc/}
			echo "process ${pid%/exe} $target"
			;;
		esac
	done
} | sort
