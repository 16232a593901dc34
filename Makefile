# Everything one does with the source. It needs Go 1.26, make, a network the
# first time and, because H3 is written in C, a C compiler.

GO        ?= go
ARGS      ?=
TESTFLAGS ?=
FUZZTIME  ?= 10s
CHAOS     ?= 5m
SEED      ?= 0
SOAK      ?= 30m
FAULTS    ?= 10m
CLUSTER   ?= 10m
TAKEOVER  ?= 20
BENCH     ?= .
PINGS     ?= 10000000

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
PROMTOOL := $(CACHE)/promtool
VICTORIA := $(CACHE)/victoria-metrics
TELEGRAF := .cache/telegraf-1.39.3/telegraf
VULN     := $(CACHE)/govulncheck
# So many failed tests run again, alone, before test and race fail.
AGAIN    ?= 0
VULNDB   ?= https://vuln.go.dev
NODE     := .cache/openapi
MAP      := dashboards/livemap
MAPNODE  := .cache/livemap
PHONE    := dashboards/phone
CLIENTJS := clients/js
PHONEWEB := .cache/phone
JARS     := $(CURDIR)/.cache/jars
# The tests of make test-stores.
STORES   := Test(Kafka|Cassandra|SQS|QuestDB|VictoriaMetrics|LineClient)
PYTHON   := .cache/python/fetched
export PINGLINE_INFLUXD := $(CURDIR)/$(INFLUXD)
# Only where it has been built: it needs Rust, and tests do without it.
export PINGLINE_INFLUXD2 = $(wildcard $(CURDIR)/$(INFLUXD2))

.PHONY: help demo demo-cluster test test-stores jars race chaos chaos-cluster takeover soak sim-audit sim-faults sim-replay lint vuln lint-api lint-deploy fuzz bench bench-table bench-nodes bench-direct bench-stores bench-loaders bench-guard build livemap phone pictures bench-map boards influxd influxd2 victoriametrics promtool clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build influxd ## A city, the ingester and a real InfluxDB, a code that a phone scans, then an audit; ARGS="--for 20s --json", ARGS=--phone-listen= for no phones
	@bin/pingline demo --phone-listen=:8443 $(ARGS)

demo-cluster: build influxd ## Three NATS servers, three nodes, InfluxDB and a city: any server or node is killed by its name, typed; then an audit; ARGS="-for 2m -lease 5s"
	@$(GO) run ./tools/cluster -binary bin/pingline $(ARGS)

test: influxd ## All tests, against a real InfluxDB, and which were skipped; TESTFLAGS="-v -run Kill"
	$(GO) run ./tools/gotest -again $(AGAIN) -timeout 60m $(TESTFLAGS) ./...

test-stores: influxd jars victoriametrics ## The tests that need a Kafka, a Cassandra, a queue like SQS, a QuestDB, a VictoriaMetrics, a Telegraf or a client of InfluxDB for Python; needs Java 17 and Maven
	@$(MAKE) --no-print-directory $(PYTHON) || echo "no client of InfluxDB for Python: its test is skipped" >&2
	@$(MAKE) --no-print-directory telegraf || echo "no Telegraf: its test is skipped" >&2
	PINGLINE_JARS=$(JARS) PINGLINE_TEST_VICTORIAMETRICS=$(CURDIR)/$(VICTORIA) PINGLINE_TEST_PYTHON=$$(test ! -f $(PYTHON) || echo $(CURDIR)/.cache/python/bin/python) \
		PINGLINE_TEST_TELEGRAF=$$(test ! -x $(TELEGRAF) || echo $(CURDIR)/$(TELEGRAF)) \
		$(GO) run ./tools/gotest -again $(AGAIN) -p 1 -timeout 60m -run '^$(STORES)' $(TESTFLAGS) \
		$$(grep -lrE --include='*_test.go' '^func $(STORES)' . | xargs -n 1 dirname | sort -u)

race: influxd ## All tests under the race detector; TESTFLAGS=-short leaves out the long ones
	$(GO) run ./tools/gotest -again $(AGAIN) -race -timeout 120m $(TESTFLAGS) ./...

chaos: influxd ## Overload for minutes, hostile clients, a dead set, and faults at random for CHAOS=5m; SEED=7 repeats a schedule
	$(GO) test -v -run 'TestOverload|TestHostileClients|TestFreshAfterAnOutage|TestSetsOneDead|TestChaos' -timeout 60m $(TESTFLAGS) ./cmd/pingline -chaos=$(CHAOS) -chaos-seed=$(SEED) -sets-dead=2m

chaos-cluster: influxd ## The same for CLUSTER=10m, while at random nodes and servers die, stand still and are cut off, and clocks step, and the audit; SEED=7 repeats a schedule, ARGS="-every 5s"
	@tools/clock/overlay $(CACHE)/clock && $(GO) build -overlay $(CACHE)/clock/overlay.json -o $(CACHE)/clock/pingline ./cmd/pingline
	@$(GO) run ./tools/cluster -binary $(CACHE)/clock/pingline -clock -chaos -for $(CLUSTER) -seed $(SEED) $(ARGS)

takeover: build influxd ## How long riders have no answer when a node is killed, and when it ends in order, TAKEOVER=20 times each
	@$(GO) run ./tools/cluster -binary bin/pingline -takeover $(TAKEOVER) $(ARGS)

soak: influxd ## Everything hostile at once for SOAK=30m: is the honest fleet answered, and does nothing grow?
	$(GO) test -v -run 'TestSoak' -timeout 24h $(TESTFLAGS) ./cmd/pingline -soak=$(SOAK)

sim-audit: ## Audit 10 million pings: how long it takes, and how much memory; PINGS=1000000
	PINGLINE_TEST_AUDIT_PINGS=$(PINGS) $(GO) test -v -run 'TestAuditOfMillions' -timeout 30m $(TESTFLAGS) ./sim/audit

sim-faults: influxd ## Every fault of phones at once for FAULTS=10m: is each answer true, and is memory flat?
	$(GO) test -v -run 'TestSimFaults' -timeout 24h $(TESTFLAGS) ./cmd/pingline -sim-faults=$(FAULTS)

sim-replay: influxd ## The recorded tracks of ../shared at 50 times their speed by 200 clones, against a real stack, and an audit; about 10 minutes
	PINGLINE_SIM_REPLAY=1 $(GO) test -v -run TestReplayOfRecordedTracks -timeout 60m $(TESTFLAGS) ./sim/replay

lint: $(LINTER) ## gofmt, go vet and the linters of .golangci.yml
	@unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "not gofmt'ed:" $$unformatted; exit 1; }
	$(GO) vet ./...
	$(LINTER) run --allow-parallel-runners ./...

vuln: $(VULN) ## Known faults of Go and of the modules that are used, by govulncheck; asks VULNDB=https://vuln.go.dev
	@curl -sfS -m 30 -o /dev/null $(VULNDB)/index/db.json || \
		{ echo "$(VULNDB) cannot be reached: nothing was asked about known faults" >&2; exit 0; }; \
	$(VULN) -db $(VULNDB) ./...

lint-api: $(NODE)/installed ## docs/openapi.yaml, by the rules of tools/openapi/redocly.yaml; needs Node and npm. After it make test checks a TypeScript client too
	REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true \
		$(NODE)/node_modules/.bin/redocly lint --config tools/openapi/redocly.yaml docs/openapi.yaml

lint-deploy: ## The examples of deploy/ for Kubernetes and Docker Compose
	cd tools/deploy && $(GO) run . $(CURDIR)/deploy

fuzz: ## Every fuzz target for FUZZTIME=10s
	$(GO) run ./tools/gofuzz $(FUZZTIME) ./...

bench: influxd ## All benchmarks; BENCH=Accept picks some
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 60m $(TESTFLAGS) ./...

bench-table: ## Pingline beside a bare Fiber handler: the table of docs/performance.md anew, and bin/bench-table.json, about 12 minutes; ARGS="-for 500ms -warm 300ms -repeats 1 -doc=" in one, and prints the table alone
	mkdir -p bin .cache
	$(GO) run ./tools/benchtable -data .cache -json bin/bench-table.json -doc docs/performance.md -version '$(VERSION)' $(ARGS)

bench-nodes: ## The embedded log beside the same on three NATS servers, and three nodes that share the riders: 5 minutes; ARGS="-before OLD/pingline -repeats 5"
	mkdir -p bin .cache
	$(GO) run ./tools/benchtable -nodes -loads single,b100 -formats json -data .cache -json bin/bench-nodes.json -version '$(VERSION)' $(ARGS)

bench-direct: influxd ## How many pings a second a real InfluxDB takes from phones themselves, and whether pingline before it takes 5 times as many; ARGS="-for 20s -times 3"
	mkdir -p .cache
	$(GO) run ./tools/benchtable -direct -for 60s -data .cache -version '$(VERSION)' $(ARGS)

bench-stores: influxd ## The same million pings in each store: bytes, CPU, memory, reads; minutes; ARGS="-pings 100000 -store postgres -variant all", and docs/choosing.md
	-@$(MAKE) --no-print-directory jars victoriametrics
	PINGLINE_JARS=$(JARS) PINGLINE_TEST_VICTORIAMETRICS=$(wildcard $(CURDIR)/$(VICTORIA)) \
		$(GO) test -v -run '^TestStores$$' -timeout 6h ./tools/benchstores -pings 1000000 $(ARGS)

bench-loaders: influxd ## The writer of each store beside the store's own bulk loader, on the same rows in turns; ARGS="-least 0.7 ./sink/postgres"
	-@$(MAKE) --no-print-directory jars
	PINGLINE_JARS=$(JARS) $(GO) run ./tools/benchstores $(ARGS)

bench-guard: ## Has a stage of a ping's path become twice as dear? Against a loop in the same run; also on a busy machine
	PINGLINE_BENCH_GUARD=1 $(GO) test -v -p 1 -count 1 -run '^TestCostOf' . ./dedupe ./ingest/phone/native ./rollup ./sink/influx

build: ## bin/pingline; needs a C compiler, and Node and npm for the live map and the page for phones, which are left out without them
	@if ! { command -v node && command -v npm; } >/dev/null; then echo "no Node and npm: the live map and the page for phones are left out" >&2; else \
		$(MAKE) --no-print-directory livemap || echo "make livemap failed: the live map is left out, or an old one is built in" >&2; \
		$(MAKE) --no-print-directory phone || echo "make phone failed: the page for phones is left out, or an old one is built in" >&2; fi
	@# Go knows best which files it depends on, and rebuilds nothing in vain.
	$(BUILD) -ldflags '-X main.version=$(VERSION)' -o bin/pingline ./cmd/pingline

livemap: $(MAP)/dist/index.html.gz ## The page of the live map, checked and bundled for the next make build; needs Node and npm

phone: $(PHONE)/dist/index.html.gz ## The page that makes a browser a sender, and clients/js, checked and bundled for the next make build; needs Node and npm

pictures: livemap influxd ## The stills of the live map in docs, from a city like that of make demo; needs Chromium
	PINGLINE_TEST_STILLS=$(CURDIR)/docs $(GO) test -count 1 -run TestPicture ./dashboards/livemap

bench-map: livemap influxd ## Frame times of the live map with 20,000 riders, and its first paint; needs Chromium
	$(GO) test -run '^$$' -bench 'Frames|FirstPaint' -benchtime 3x -timeout 30m ./dashboards/livemap

boards: ## Write the Grafana boards and rules of dashboards/grafana anew
	$(GO) generate ./dashboards/grafana

influxd: $(INFLUXD) ## The real InfluxDB 1.8 that tests and demo run, about a minute once

influxd2: $(INFLUXD2) ## A real InfluxDB 2.x for tests, which skip what needs it without; needs cargo and pkg-config, minutes once

jars: $(foreach server,kafka cassandra elasticmq questdb,$(JARS)/$(server)/fetched) ## Servers in Java that make test-stores runs, by Maven, some 180 MB once

victoriametrics: $(VICTORIA) ## The real VictoriaMetrics that make test-stores runs, two minutes once

telegraf: $(TELEGRAF) ## The real Telegraf that make test-stores runs, with no more than its tests need, a minute once

promtool: $(PROMTOOL) ## Prometheus' tool that checks its rules in tests, which skip that without it; minutes once

clean: ## Remove what make has built
	rm -rf bin .cache $(MAP)/dist/assets $(MAP)/dist/index.html.gz $(PHONE)/dist/assets $(PHONE)/dist/*.gz

$(INFLUXD): tools/influxd/go.mod tools/influxd/go.sum
	cd tools/influxd && CGO_ENABLED=0 $(BUILD) -ldflags '-X main.version=$(call version,influxdb)' \
		-o $(CURDIR)/$@ github.com/influxdata/influxdb/cmd/influxd

$(JARS)/%/fetched: tools/jars/%/pom.xml
	rm -rf $(JARS)/$*
	mvn -q -B -f $< dependency:copy-dependencies -DoutputDirectory=$(JARS)/$* -DincludeScope=runtime
	touch $@

# InfluxDB 2.x links a library in Rust, which Go has this pkg-config build by
# cargo. It was written for an older Rust than today's: the toolchain it asks for
# is passed over, and its "deny(warnings)" with it. Its copy of the sources in Go's
# cache is made once and never checked, so one that lost files would break all builds.
$(INFLUXD2): tools/influxd2/go.mod tools/influxd2/go.sum tools/influxd2/rustc
	@for tool in cargo pkg-config; do command -v $$tool >/dev/null || \
		{ echo "make influxd2 needs $$tool, which is not installed: tests that need InfluxDB 2.x are skipped without it" >&2; exit 1; }; done
	cd tools/influxd2 && CGO_ENABLED=0 $(BUILD) -o $(CURDIR)/$(FLUX) github.com/influxdata/pkg-config
	rm -rf "$$($(GO) env GOCACHE)"/pkgconfig/github.com/influxdata/flux@*
	cd tools/influxd2 && PKG_CONFIG=$(CURDIR)/$(FLUX) RUSTUP_TOOLCHAIN=$${RUSTUP_TOOLCHAIN:-stable} RUSTC_WRAPPER=$(CURDIR)/tools/influxd2/rustc \
		$(BUILD) -ldflags '-X main.version=v$(call version,influxdb/v2)' -o $(CURDIR)/$@ github.com/influxdata/influxdb/v2/cmd/influxd

$(VICTORIA): tools/victoriametrics/go.mod tools/victoriametrics/go.sum
	cd tools/victoriametrics && CGO_ENABLED=0 $(BUILD) -o $(CURDIR)/$@ github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics

# Of its some 300 inputs and outputs only those of the test: all of them take an hour. Its go.mod is used as
# it is, checked by Go's database of checksums; ours would repeat 3,700 lines of it.
$(TELEGRAF):
	GOBIN=$(CURDIR)/$(@D) CGO_ENABLED=0 $(GO) install -trimpath -buildvcs=false -tags custom,inputs.file,outputs.influxdb,outputs.influxdb_v2,parsers.influx \
		github.com/influxdata/telegraf/cmd/telegraf@v$(patsubst .cache/telegraf-%/,%,$(dir $@))

$(PYTHON): tools/python/requirements.txt
	rm -rf .cache/python && python3 -m venv .cache/python
	.cache/python/bin/pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(LINTER): tools/lint/go.mod tools/lint/go.sum
	cd tools/lint && CGO_ENABLED=0 $(BUILD) -ldflags '-X main.version=$(call version,golangci-lint/v2)' \
		-o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(VULN): tools/vuln/go.mod tools/vuln/go.sum
	cd tools/vuln && CGO_ENABLED=0 $(BUILD) -o $(CURDIR)/$@ golang.org/x/vuln/cmd/govulncheck

# Rules need no discovery of servers, and so no libraries of clouds.
$(PROMTOOL): tools/promtool/go.mod tools/promtool/go.sum
	cd tools/promtool && CGO_ENABLED=0 $(BUILD) -tags remove_all_sd -o $(CURDIR)/$@ github.com/prometheus/prometheus/cmd/promtool

# The exact versions of package-lock.json; no script of a package is run.
$(NODE)/installed: tools/openapi/package.json tools/openapi/package-lock.json
	@command -v npm >/dev/null || { echo "this needs Node and npm, which are not installed" >&2; exit 1; }
	mkdir -p $(NODE) && cp tools/openapi/package.json tools/openapi/package-lock.json $(NODE)/
	cd $(NODE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

$(MAPNODE)/installed: $(MAP)/web/package.json $(MAP)/web/package-lock.json
	@command -v npm >/dev/null || { echo "this needs Node and npm, which are not installed" >&2; exit 1; }
	mkdir -p $(MAPNODE) && cp $(MAP)/web/package.json $(MAP)/web/package-lock.json $(MAPNODE)/
	cd $(MAPNODE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

# Beside its packages, so that no folder of theirs is in the tree, where Go would look into it.
$(MAP)/dist/index.html.gz: $(MAPNODE)/installed $(wildcard $(MAP)/web/*.json $(MAP)/web/*.mjs $(MAP)/web/src/*)
	rm -rf $(MAPNODE)/src && cp -r $(MAP)/web/. $(MAPNODE)/
	cd $(MAPNODE) && npm run --silent check && npm run --silent build -- $(CURDIR)/$(MAP)/dist

# With the packages of the live map, in a copy of the folders where they are beside one another:
# the page imports the library, and the theme of the map.
$(PHONE)/dist/index.html.gz: $(MAPNODE)/installed $(wildcard $(PHONE)/web/*.json $(PHONE)/web/*.mjs $(PHONE)/web/src/* $(CLIENTJS)/*.json $(CLIENTJS)/src/* $(CLIENTJS)/test/*) \
		$(addprefix $(MAP)/web/,biome.json tsconfig.json src/dom.ts src/theme.ts src/theme.css)
	rm -rf $(PHONEWEB) && mkdir -p $(addprefix $(PHONEWEB)/,clients dashboards/livemap dashboards/phone)
	ln -s ../livemap/node_modules $(PHONEWEB)/
	cp -r $(CLIENTJS) $(PHONEWEB)/clients/ && cp -r $(MAP)/web $(PHONEWEB)/dashboards/livemap/ && cp -r $(PHONE)/web $(PHONEWEB)/dashboards/phone/
	cd $(PHONEWEB)/dashboards/phone/web && PATH="$(CURDIR)/$(MAPNODE)/node_modules/.bin:$$PATH" npm run --silent check && npm run --silent build -- $(CURDIR)/$(PHONE)/dist

# The version of a module, without the v, from the go.mod of the rule at hand.
version = $(shell sed -n 's|^.*/$(1) v\([0-9.]*\).*|\1|p' $<)
