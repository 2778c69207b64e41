# lazulite: the targets are the whole interface; CI calls the same ones.
GO      ?= go
PKGS    := ./...
BIN     := bin/lazulite
# A build without cgo works too (CGO_ENABLED=0): it can't see GPUs, and doctor says so.
# go-nvml wraps functions that NVIDIA calls deprecated; they are not ours to change.
export CGO_CFLAGS ?= -O2 -Wno-deprecated-declarations
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build demo test race unit mutants bench lint conformance clients images generate setup clean

build: setup
	$(GO) build -trimpath -ldflags="-s -w" -o $(BIN) ./cmd/lazulite

# Trains one script on this machine and on a Data Science VM. No Docker needed.
demo: build
	$(BIN) demo

# Everything: lint, unit and contract tests, the conformance suite and real clients, under the race detector.
test: lint clients race

race: setup
	LAZULITE_TEST_CONDA=1 $(GO) test -race -timeout 30m $(PKGS)

# The same without the race detector: quicker at the desk.
unit: setup
	$(GO) test -timeout 15m $(PKGS)

# The suite against an emulator of this build, as anybody would run it.
conformance: build
	$(BIN) exec -- $(BIN) conform

# Seeds faults in the emulator and asks whether the suite notices: an hour, or twenty minutes with more processors.
# MUTANTS="-only aml.,blob. -jobs 3 -results FILE" tries some, and goes on where a FILE of results ended.
mutants: setup
	LAZULITE_MUTANTS=1 $(GO) test ./conformance/mutants -run TestMutants -v -timeout 120m -args -table $(CURDIR)/docs/mutants.md $(MUTANTS)

bench: build clients
	scripts/bench

lint: setup
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	$(GO) vet $(PKGS)
	$(STATICCHECK) $(PKGS)

# The virtual environments of the real clients, where their Pythons are to be had.
clients: setup
	scripts/clients

# The base image of the Docker engine's machines. Installs and starts Docker on a Debian machine as root.
images: build
	scripts/docker
	$(BIN) images build

# Nothing is generated yet but what is committed.
generate:
	$(GO) generate $(PKGS)

setup:
	@scripts/setup

clean:
	rm -rf bin .venv
