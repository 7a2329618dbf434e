# vzreconciler: `make help` lists the targets.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX    ?= /usr/local
LDFLAGS   := -s -w -X github.com/vzreconciler/vzreconciler/internal/version.Version=$(VERSION)
BUILD     := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)"
GUESTS    := amd64 arm64
PLUGINS   := runtime-qemu network-switch
# On a Mac, who signs runtime-vz: "-" is nobody (ad hoc), else a certificate's name.
SIGN      ?= -
# The module that stands in for Apple's framework on Linux, see drivers/vz/doc.go.
LOOKALIKE := drivers/vz/internal/lookalike
# Where the runtime contract's reports go; they are printed after the tests.
REPORTS   := $(CURDIR)/.cache/reports
# What conformance-vz runs.
IMAGE     ?= docker.io/library/busybox
# Packages whose tests boot virtual machines.
VM_TESTS  := ./drivers/guest/... ./drivers/qemu/... ./test/e2e/...

.DEFAULT_GOAL := help
.PHONY: help setup build check lint generate test unit e2e bench demo image install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / {printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what building, testing and the demo need
	@internal/tools/setup.sh dev

.PHONY: setup-run
setup-run:
	@internal/tools/setup.sh run

build: ## build every binary into bin/
	@umask 022; mkdir -p bin
	$(BUILD) -o bin/vzctl ./cmd/vzctl
	$(BUILD) -o bin/vzreconciler ./cmd/vzreconciler
	@set -e; for p in $(PLUGINS); do \
		mkdir -p bin/plugins/$$p/bin; \
		cp plugins/$$p/plugin.yaml bin/plugins/$$p/; \
		echo '$(BUILD) -o bin/plugins/'$$p/bin/$$p ./plugins/$$p; \
		$(BUILD) -o bin/plugins/$$p/bin/$$p ./plugins/$$p; \
	done
ifeq ($(shell uname -s),Darwin)
	@mkdir -p bin/plugins/runtime-vz/bin
	cp plugins/runtime-vz/plugin.yaml bin/plugins/runtime-vz/
	$(subst CGO_ENABLED=0,CGO_ENABLED=1,$(BUILD)) -o bin/plugins/runtime-vz/bin/runtime-vz ./plugins/runtime-vz
	codesign --force --sign "$(SIGN)" $(if $(filter -,$(SIGN)),,--options runtime --timestamp) \
		--entitlements packaging/macos/runtime-vz.entitlements bin/plugins/runtime-vz/bin/runtime-vz
endif
	@set -e; for a in $(GUESTS); do \
		mkdir -p bin/guest/$$a; \
		echo 'GOOS=linux GOARCH='$$a '$(BUILD) -tags grpcnotrace -o bin/guest/'$$a/agent ./drivers/guest/agent/cmd; \
		GOOS=linux GOARCH=$$a $(BUILD) -tags grpcnotrace -o bin/guest/$$a/agent ./drivers/guest/agent/cmd; \
	done

.PHONY: lookalike
lookalike: ## build runtime-vz for Linux, on QEMU in place of Apple's framework
	@umask 022; mkdir -p bin/lookalike/runtime-vz/bin bin/lookalike-saving/runtime-vz/bin
	@cp go.mod bin/lookalike/vz.mod && cp go.sum bin/lookalike/vz.sum
	@cp plugins/runtime-vz/plugin.yaml bin/lookalike/runtime-vz/ && cp plugins/runtime-vz/plugin.yaml bin/lookalike-saving/runtime-vz/
	@$(GO) mod edit -replace github.com/Code-Hex/vz/v3=./$(LOOKALIKE) bin/lookalike/vz.mod
	$(BUILD) -modfile bin/lookalike/vz.mod -tags vzlookalike -o bin/lookalike/runtime-vz/bin/runtime-vz ./plugins/runtime-vz
	# Machines that can be saved have another channel to their agent: see $(LOOKALIKE)/channel.go.
	$(subst -ldflags ",-ldflags "-X github.com/Code-Hex/vz/v3.channel=port ,$(BUILD)) -modfile bin/lookalike/vz.mod -tags vzlookalike \
		-o bin/lookalike-saving/runtime-vz/bin/runtime-vz ./plugins/runtime-vz

.PHONY: universal
universal: ## build for macOS, on any host and for both architectures, all but runtime-vz
	@set -e; umask 022; for p in cmd/vzctl cmd/vzreconciler $(addprefix plugins/,$(PLUGINS)); do \
		name=$${p##*/}; out=bin/macos/$$name; mkdir -p bin/macos/plugins; \
		case $$p in plugins/*) out=bin/macos/$$p; mkdir -p $$out/bin; cp $$p/plugin.yaml $$out/; out=$$out/bin/$$name ;; esac; \
		echo "$$out"; \
		for a in arm64 amd64; do GOOS=darwin GOARCH=$$a $(BUILD) -o $$out-$$a ./$$p; done; \
		$(GO) run ./internal/tools/universal -o $$out $$out-arm64 $$out-amd64; \
		rm $$out-arm64 $$out-amd64; \
	done

image: ## build the image that the examples use, from Debian's busybox
	@mkdir -p examples/image
	@$(GO) run ./internal/tools/mkimage -o examples/image/busybox.tar -busybox "$$(command -v busybox)"

check: setup ## format, vet, lint, vulnerabilities, generated files, macOS build
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	cd examples/plugin-process && $(GO) vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=darwin GOARCH=amd64 CGO_ENABLED=0 $(GO) build ./...
	GOOS=linux GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...
	.cache/bin/golangci-lint run
	@internal/tools/check.sh

generate: ## make generated files anew (protobuf, JSON Schema, reference)
	internal/tools/generate.sh
	$(GO) generate ./...
	cd examples/plugin-process && $(GO) mod tidy

test: setup build image unit e2e ## every test: unit, then end to end on real VMs

unit: ## the tests that need no VM
	VZ_REPORT_DIR=$(REPORTS) $(GO) test -race -p 2 -timeout 15m $$($(GO) list ./... | grep -v -e /test/e2e -e /drivers/guest -e /drivers/qemu)
	# Tests on whole kernels, large files and a thousand manifests, too slow under the race detector.
	$(GO) test -timeout 10m ./internal/kernels ./internal/rootfs
	$(GO) test -timeout 10m -run ThousandMutants ./reconciler

e2e: setup build lookalike image ## the tests that boot VMs, on the built binaries
	VZ_REPORT_DIR=$(REPORTS) $(GO) test -race -p 2 -count 1 -timeout 40m $(VM_TESTS); code=$$?; \
		cat $(REPORTS)/conformance-*.txt; exit $$code

.PHONY: conformance-vz conformance-vz-lookalike
conformance-vz: build ## on a Mac: the whole runtime contract on vz
	@mkdir -p $(REPORTS)
	@sw_vers; sysctl -n machdep.cpu.brand_string; bin/vzctl system version
	bin/vzctl plugin test vz --image $(IMAGE) --junit $(REPORTS)/conformance-vz.xml; code=$$?; \
		echo 'To report: the lines above, and $(REPORTS)/conformance-vz.xml'; exit $$code

conformance-vz-lookalike: build lookalike image ## the whole runtime contract on vz's driver, on Linux
	VZ_LOOKALIKE_CHECKS=. VZ_REPORT_DIR=$(REPORTS) $(GO) test -count 1 -timeout 30m -run '^TestVZDriver' -v ./test/e2e

bench: setup build image ## benchmarks, cold start against a bare QEMU
	@internal/tools/bench.sh

demo: setup-run build image ## a minute of vzreconciler; KEEP=1 leaves it running
	@KEEP=$(KEEP) examples/demo.sh

install: build ## install under PREFIX (default /usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/vzreconciler
	install bin/vzctl bin/vzreconciler $(DESTDIR)$(PREFIX)/bin
	cp -R bin/plugins bin/guest $(DESTDIR)$(PREFIX)/libexec/vzreconciler/
	chmod -R go-w $(DESTDIR)$(PREFIX)/libexec/vzreconciler

clean: ## remove what was built (the cache of downloads stays)
	rm -rf bin examples/image
