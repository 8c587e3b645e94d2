# Every target installs what it needs and this machine lacks (scripts/deps.sh).

export PATH := $(CURDIR)/.tools/go/bin:$(PATH):/usr/local/go/bin
export GOTOOLCHAIN ?= auto

# What runs concurrently, and so is worth the race detector's time.
RACE = ./internal/store/... ./internal/syncer/... ./internal/folder/... ./internal/agent/... ./remote/... ./fs/...
FUZZTIME ?= 30s

# How many random sequences of machines that sync a soak goes through.
SEQUENCES ?= 20000

# Where `make install` puts things; DESTDIR stands before it.
PREFIX ?= /usr/local

.PHONY: build run install deb release test race fuzz soak bench check lint fmt cross clean

build:
	@scripts/deps.sh build
	CGO_ENABLED=0 go build -trimpath -o bin/syncfs ./cmd/syncfs

# The program, its unit, manual pages, completions and the helper of mount(8).
install: build
	PREFIX=$(PREFIX) scripts/install.sh bin/syncfs $(DESTDIR)

# A Debian package in dist/. VERSION names it; else git does.
deb:
	@scripts/deps.sh deb
	scripts/deb.sh

# Static programs and packages for amd64 and arm64 in dist/, with checksums.
release:
	@scripts/deps.sh deb
	scripts/release.sh

# A repository on this machine, and ~/Sync mounted. `bin/syncfs stop` ends it.
run: build
	@scripts/deps.sh run
	bin/syncfs up

test:
	@scripts/deps.sh test
	scripts/test.sh ./...

race:
	@scripts/deps.sh test
	scripts/test.sh -race $(RACE)

# Every fuzz target for FUZZTIME.
fuzz:
	@scripts/deps.sh build
	FUZZTIME=$(FUZZTIME) scripts/fuzz.sh

# Millions of random merges, sequences of machines, crashes and power cuts: hours.
soak:
	@scripts/deps.sh test
	scripts/test.sh -timeout 12h -count 1 ./internal/reconcile -rapid.checks 1000000
	scripts/test.sh -timeout 12h -count 1 ./internal/syncer -run 'TestRandomWork' -sequences $(SEQUENCES) -first-sequence 1000
	SYNCFS_SOAK=1 scripts/test.sh -timeout 12h -count 1 ./tests/...

bench:
	@scripts/deps.sh bench
	$(MAKE) build
	scripts/bench.sh

check lint:
	@scripts/deps.sh build
	scripts/check.sh

cross:
	@scripts/deps.sh build
	scripts/cross.sh

fmt:
	@scripts/deps.sh build
	gofmt -s -w $$(git ls-files '*.go')

clean:
	rm -rf bin dist .tools
