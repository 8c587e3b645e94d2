#!/usr/bin/env bash
# Format, vet, staticcheck, and the rules on who may import whom.
set -euo pipefail
cd "$(dirname "$0")/.."
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2

unformatted=$(gofmt -s -l $(git ls-files '*.go'))
if [ -n "$unformatted" ]; then
	echo "check: not formatted (make fmt):" >&2
	echo "$unformatted" >&2
	exit 1
fi
go vet ./...
go run "$staticcheck" ./...
go test -count 1 ./tests/imports
