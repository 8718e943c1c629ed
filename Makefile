# Everything a contributor runs. `make` alone lists the targets.
GO       ?= go
FUZZTIME ?= 30s
# What reads bytes of the stream is fuzzed for longer in CI: see .ci/run.
READ_FUZZTIME ?= $(FUZZTIME)
READ_PACKAGES := ./efo ./polling ./kpl ./internal/fromsdk
BENCHTIME ?= 1s
BENCH    ?= .

GOFUMPT  := $(GO) run mvdan.cc/gofumpt@v0.12.0
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
SERVERS  := integration/servers.sh
# What the suite needs. The rest is for suites of their own.
SUITE    := localstack dynamodb kinesislocal kinesalite moto ministack redis rediscluster redissentinel javakcl multilangclients multilang3

# The suite against real servers has its own target; everything else needs only Go.
PACKAGES = $$($(GO) list ./... | grep -v '/integration$$')

# The MultiLangDaemon of run_sample and run_integ_test: native is cmd/multilangd, java needs a JVM.
DAEMON   ?= native

.DEFAULT_GOAL := help
.PHONY: help demo quick test long race sim planted lint fuzz fuzz-long fuzz-corpus bench chaos integration integration-multilang run_sample run_integ_test check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## watch a fleet read a stream through a reshard and a killed worker (about a minute)
	$(GO) run ./examples/quickstart

# The heaps of tests are small. With fewer collections the tests take 10 to 25 % less time.
quick test: export GOGC ?= 400

# Tests that are longer than two seconds have a quick form: see internal/testsize.
quick: ## run the quick form of every test, for the inner loop
	$(GO) test -short $(PACKAGES)

test: ## run the tests; needs nothing but Go
	$(GO) test ./...

# The packages whose tests have a full size, with the flag -long.
LONG_PACKAGES := ./efo ./internal/coordinator ./internal/plan ./internal/smallworld ./leases/dynamodb ./multilang ./scheduler

long: ## run the largest fleets and the longest histories at full size: days of virtual time, 3,000 seeds with late writes
	$(GO) test -timeout 60m $(LONG_PACKAGES) -long

race: ## run the quick form of every test under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -timeout 40m $(PACKAGES)

# Simulated fleets: see docs/simulation.md. SCENARIO repeats one, SEED begins at a seed.
SIM      ?= 10m
sim: ## play simulated fleets with random faults for SIM of CPU time (default 10m)
	$(GO) test -count=1 -timeout 24h ./internal/sim -run 'TestSim$$' -cpu-time $(SIM) $(if $(SEED),-seed $(SEED)) $(if $(SCENARIO),-scenario '$(SCENARIO)')

# Mistakes that the tests must find: see internal/sim/planted. PLANTED chooses some by name.
PLANTED  ?= .
planted: ## plant each of the known mistakes, and tell whether the simulation or the ordinary tests find it (an hour)
	$(GO) run ./internal/sim/planted/run -run '$(PLANTED)' $(if $(OUT),-out $(OUT))

lint: ## gofumpt, go vet, golangci-lint, go mod tidy
	@out=$$($(GOFUMPT) -l .) || exit 1; \
	  if [ -n "$$out" ]; then echo "not formatted, run gofumpt -w:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GOLANGCI) run ./...
	$(GO) mod tidy -diff

# Each target has one core.
fuzz: ## run every fuzz target for FUZZTIME (default 30s) each, those of the readers and of kpl for READ_FUZZTIME
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's#/[^/]*:func # #' | sort -u | \
	while read -r pkg target; do \
	  time=$(FUZZTIME); case " $(READ_PACKAGES) " in *" $$pkg "*) time=$(READ_FUZZTIME);; esac; \
	  echo "$$pkg $$target $$time"; \
	done | GO="$(GO)" xargs -P "$$(getconf _NPROCESSORS_ONLN)" -n 3 .ci/fuzz

EXECS ?= 100000000

fuzz-long: ## run every fuzz target until it was executed EXECS times; FUZZ=regexp chooses; goes on where it stopped
	.ci/fuzz-long $(EXECS) '$(or $(FUZZ),.)'

fuzz-corpus: ## copy the smallest inputs that fuzz-long has found into testdata/fuzz
	.ci/fuzz-corpus

bench: ## run the benchmarks (BENCH=regexp, BENCHTIME=1s)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem $(PACKAGES)

# CHAOS has more flags, such as -target 1000,1000,500 -state DIR: see integration/README.md.
KILLS    ?= 50
CHAOS    ?=

chaos: ## kill, freeze and starve real workers under load, and count what is lost (KILLS=50, about three minutes)
	$(GO) run ./integration/chaos -kills $(KILLS) $(CHAOS)

integration: ## install and start the real servers, run the suite against them, stop them
	@set -eu; trap '$(SERVERS) stop' EXIT; trap 'exit 130' INT TERM; \
	  endpoints=$$($(SERVERS) start $(SUITE)); eval "$$endpoints"; \
	  REQUIRE_INTEGRATION=1 $(GO) test -count=1 -timeout 25m -parallel 6 ./integration/...

# Each client of the MultiLang protocol under each daemon, through all faults.
integration-multilang: ## run kclpy, aws-kcl and the Go children under multilangd and two versions of the Java MultiLangDaemon (25 to 35 minutes)
	@set -eu; trap '$(SERVERS) stop dynamodb' EXIT; trap 'exit 130' INT TERM; \
	  endpoints=$$($(SERVERS) start dynamodb multilangclients multilang3 multilang2); eval "$$endpoints"; \
	  REQUIRE_INTEGRATION=1 $(GO) test -count=1 -timeout 90m -parallel 6 -v -run TestMultiLang ./integration/ \
	    -daemons multilangd,java3,java2

run_sample: ## run the sample processor under multilangd, on a stream in memory; DAEMON=java: under the Java MultiLangDaemon
	@set -eu; arguments=; \
	  case $(DAEMON) in native) ;; java) \
	    endpoints=$$($(SERVERS) start multilang3); eval "$$endpoints"; \
	    arguments="-daemon $$KCL_JAVA_MULTILANG3";; \
	  *) echo "DAEMON is $(DAEMON): use native or java" >&2; exit 2;; esac; \
	  $(GO) run ./examples/multilang/runsample $$arguments

run_integ_test: ## the same against LocalStack, Kinesis and DynamoDB, with four shards
	@set -eu; arguments=; servers=localstack; \
	  case $(DAEMON) in native) ;; java) servers="localstack multilang3";; \
	  *) echo "DAEMON is $(DAEMON): use native or java" >&2; exit 2;; esac; \
	  trap '$(SERVERS) stop localstack' EXIT; trap 'exit 130' INT TERM; \
	  endpoints=$$($(SERVERS) start $$servers); eval "$$endpoints"; \
	  [ $(DAEMON) = native ] || arguments="-daemon $$KCL_JAVA_MULTILANG3"; \
	  $(GO) run ./examples/multilang/runsample -shards 4 -url "$$KCL_LOCALSTACK_URL" $$arguments alice bob charlie

check: lint race ## what must pass before a commit
