# Everything one does with the source. It needs Go 1.26, make, a network the
# first time and, because H3 is written in C, a C compiler.

GO        ?= go
ARGS      ?=
TESTFLAGS ?=
FUZZTIME  ?= 10s
CHAOS     ?= 5m
SEED      ?= 0
SOAK      ?= 30m
BENCH     ?= .

# Without this, Go quietly leaves out the C parts where it finds no compiler,
# and the build ends in a riddle.
export CGO_ENABLED := 1
# The version is ours to stamp; a tree that git cannot read is no reason to fail.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
BUILD   := $(GO) build -trimpath -buildvcs=false

# The tools, each built once from the exact version in its own go.mod.
CACHE    := .cache/bin
INFLUXD  := $(CACHE)/influxd
INFLUXD2 := $(CACHE)/influxd2
FLUX     := $(CACHE)/flux-pkg-config
LINTER   := $(CACHE)/golangci-lint
NODE     := .cache/openapi
export PINGLINE_INFLUXD := $(CURDIR)/$(INFLUXD)
# Only where it has been built: it needs Rust, and tests do without it.
export PINGLINE_INFLUXD2 = $(wildcard $(CURDIR)/$(INFLUXD2))

.PHONY: help demo test race chaos soak lint lint-api fuzz bench build influxd influxd2 clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build influxd ## A city, the ingester and a real InfluxDB, then an audit; ARGS="--for 20s --json"
	@bin/pingline demo $(ARGS)

test: influxd ## All tests, against a real InfluxDB, and which were skipped; TESTFLAGS="-v -run Kill"
	$(GO) run ./tools/skips -timeout 60m $(TESTFLAGS) ./...

race: influxd ## All tests under the race detector; TESTFLAGS=-short leaves out the long ones
	$(GO) test -race -timeout 120m $(TESTFLAGS) ./...

chaos: influxd ## Overload for minutes, hostile clients, and faults at random for CHAOS=5m; SEED=7 repeats a schedule
	$(GO) test -v -run 'TestOverload|TestHostileClients|TestFreshAfterAnOutage|TestChaos' -timeout 60m $(TESTFLAGS) ./cmd/pingline -chaos=$(CHAOS) -chaos-seed=$(SEED)

soak: influxd ## Everything hostile at once for SOAK=30m: is the honest fleet answered, and does nothing grow?
	$(GO) test -v -run 'TestSoak' -timeout 24h $(TESTFLAGS) ./cmd/pingline -soak=$(SOAK)

lint: $(LINTER) ## gofmt, go vet and the linters of .golangci.yml
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "not gofmt'ed:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(LINTER) run --allow-parallel-runners ./...

lint-api: $(NODE)/installed ## docs/openapi.yaml, by the rules of tools/openapi/redocly.yaml; needs Node and npm. After it make test checks a TypeScript client too
	REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		$(NODE)/node_modules/.bin/redocly lint --config tools/openapi/redocly.yaml docs/openapi.yaml

fuzz: ## Every fuzz target for FUZZTIME=10s
	@set -ef; for pkg in $$($(GO) list ./...); do \
		targets=$$($(GO) test -list '^Fuzz' $$pkg); \
		for target in $$targets; do case $$target in Fuzz*) \
			echo "fuzz $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg;; \
		esac; done; \
	done

bench: influxd ## All benchmarks; BENCH=Accept picks some
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(TESTFLAGS) ./...

build: ## bin/pingline; needs a C compiler
	@# Go knows best which files it depends on, and rebuilds nothing in vain.
	$(BUILD) -ldflags '-X main.version=$(VERSION)' -o bin/pingline ./cmd/pingline

influxd: $(INFLUXD) ## The real InfluxDB 1.8 that tests and demo run, about a minute once

influxd2: $(INFLUXD2) ## A real InfluxDB 2.x for tests, which skip what needs it without; needs cargo and pkg-config, minutes once

clean: ## Remove what make has built
	rm -rf bin .cache

$(INFLUXD): tools/influxd/go.mod tools/influxd/go.sum
	cd tools/influxd && CGO_ENABLED=0 $(BUILD) -ldflags '-X main.version=$(call version,influxdb)' \
		-o $(CURDIR)/$@ github.com/influxdata/influxdb/cmd/influxd

# InfluxDB 2.x links a library in Rust, which Go has this pkg-config build by
# cargo. It was written for an older Rust than today's: the toolchain it asks for
# is passed over, and its "deny(warnings)" with it.
$(INFLUXD2): tools/influxd2/go.mod tools/influxd2/go.sum tools/influxd2/rustc
	@for tool in cargo pkg-config; do command -v $$tool >/dev/null || \
		{ echo "make influxd2 needs $$tool, which is not installed: tests that need InfluxDB 2.x are skipped without it" >&2; exit 1; }; done
	cd tools/influxd2 && CGO_ENABLED=0 $(BUILD) -o $(CURDIR)/$(FLUX) github.com/influxdata/pkg-config
	cd tools/influxd2 && PKG_CONFIG=$(CURDIR)/$(FLUX) RUSTUP_TOOLCHAIN=$${RUSTUP_TOOLCHAIN:-stable} RUSTC_WRAPPER=$(CURDIR)/tools/influxd2/rustc \
		$(BUILD) -ldflags '-X main.version=v$(call version,influxdb/v2)' -o $(CURDIR)/$@ github.com/influxdata/influxdb/v2/cmd/influxd

$(LINTER): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && CGO_ENABLED=0 $(BUILD) -ldflags '-X main.version=$(call version,golangci-lint/v2)' \
		-o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

# The exact versions of package-lock.json; no script of a package is run.
$(NODE)/installed: tools/openapi/package.json tools/openapi/package-lock.json
	@command -v npm >/dev/null || { echo "this needs Node and npm, which are not installed" >&2; exit 1; }
	mkdir -p $(NODE) && cp tools/openapi/package.json tools/openapi/package-lock.json $(NODE)/
	cd $(NODE) && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

# The version of a module, without the v, from the go.mod of the rule at hand.
version = $(shell sed -n 's|^.*/$(1) v\([0-9.]*\).*|\1|p' $<)
