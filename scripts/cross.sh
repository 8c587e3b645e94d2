#!/usr/bin/env bash
# The client must build wherever users are.
set -euo pipefail
cd "$(dirname "$0")/.."
for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do
	echo "cross: $target"
	CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go build -o /dev/null ./cmd/syncfs
	CGO_ENABLED=0 GOOS=${target%/*} GOARCH=${target#*/} go vet ./cmd/syncfs ./internal/config ./internal/blob ./internal/store ./remote
done
