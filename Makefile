# Everything a developer types. `make help` lists it.
GO       ?= go
BIN      := bin/portolan
TOOLS    := $(GO) tool -modfile=tools.mod
FUZZTIME ?= 10m
BENCH    ?= .
COUNT    ?= 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/portolan
	CGO_ENABLED=0 $(GO) build -o $(BIN) ./cmd/portolan

.PHONY: run
run: build ## start the example on 127.0.0.1:8053: no root, no network
	$(BIN) demo

# The version of a package: the last tag, or what the commit is called without one.
VERSION  ?= $(shell git describe --tags --always 2>/dev/null | sed 's/^v//; /^[0-9]*[.]/!s/^/0~/')
ARCH     ?= $(shell $(GO) env GOARCH)

.PHONY: deb
deb: ## build a Debian package in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags=-s -o $(BIN) ./cmd/portolan
	rm -rf bin/man bin/completion && mkdir -p bin/completion
	$(GO) run ./cmd/internal/cli/man bin/man
	$(BIN) completion bash >bin/completion/portolan.bash
	VERSION='$(VERSION)' ARCH='$(ARCH)' $(GO) tool -modfile=deploy/tools.mod nfpm package -f deploy/nfpm.yaml -p deb -t bin/

.PHONY: test
test: build ## run all tests; those that need tools or root skip without them, unless CI is set
	$(GO) test ./...

.PHONY: race
race: ## run the tests of everything concurrent with the race detector
	$(GO) test -race -short ./resolver/... ./health/... ./config/ledger ./cmd/internal/app ./cmd/internal/availability ./cmd/internal/admin ./cmd/internal/notify ./cmd/internal/load

# What the server is built for. The tests of a 32-bit platform run where those of its
# 64-bit sibling do; packages whose tests write location data need a library that does not
# compile for 32 bits.
PLATFORMS = linux/amd64 linux/arm64 linux/386 linux/arm linux/riscv64 darwin/amd64 darwin/arm64 freebsd/amd64
TESTS_386 = ./resolver ./resolver/activity ./resolver/decide ./resolver/rrl ./resolver/server ./resolver/transfer ./resolver/wire ./resolver/zone \
	./config/... ./health/... ./geo/embedded ./cmd/internal/cached ./cmd/internal/handover ./cmd/internal/notify ./cmd/internal/sandbox ./cmd/internal/secretfile

.PHONY: cross
cross: ## build for every platform, and run tests as a 32-bit program
	@for p in $(PLATFORMS); do echo "$$p"; GOOS=$${p%/*} GOARCH=$${p#*/} CGO_ENABLED=0 $(GO) build -o /dev/null ./cmd/portolan || exit 1; done
	GOARCH=386 CGO_ENABLED=0 $(GO) test -short $(TESTS_386)

.PHONY: lint
lint: ## check format and style
	$(TOOLS) golangci-lint run ./...

.PHONY: fmt
fmt: ## format the code
	$(TOOLS) golangci-lint fmt ./...

.PHONY: cover
cover: ## check that the tests take every branch of the packet path
	@$(GO) run ./cmd/internal/branches

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10m), two at a time
	@.ci/fuzz $(FUZZTIME)

.PHONY: bench
bench: ## run the benchmarks: BENCH=regexp, COUNT=n for benchstat
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

.PHONY: bench-peers bench-cores bench-holds bench-growth bench-churn bench-flip bench-probes bench-flood
bench-peers: ## compare with other servers, which it installs (root, Debian)
bench-cores: ## compare one worker with two
bench-growth: ## measure 1 to 100000 registries, and 4 to 60 regions
bench-holds: ## measure what holding clients costs
bench-churn: ## measure reloads, new location data and health flips under load
bench-flip: ## measure one verdict that concerns every registry
bench-probes: ## measure ten thousand probe targets
bench-flood: ## measure floods of random names and clients, and memory over time
bench-peers bench-cores bench-holds bench-growth bench-churn bench-flip bench-probes bench-flood: build
	$(GO) run ./cmd/internal/bench $(@:bench-%=%) $(ARGS)

.PHONY: differential
differential: ## compare with NSD, Knot and gdnsd over generated zones, the long variant (needs them installed)
	PORTOLAN_LONG=1 $(GO) test -count=1 -v ./cmd/internal/e2e/differential

.PHONY: simulate
simulate: ## show and check what holds do for pushes over weeks of failures and drains
	$(GO) run ./resolver/decide/simulate

.PHONY: data
data: ## fetch the full location data (needs npm): for `make embed` and the accuracy test
	geo/embedded/fetch.sh

.PHONY: embed
embed: data ## build the embedded location data anew
	$(GO) generate ./geo/embedded
