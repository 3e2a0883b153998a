# Targets for people; .ci/run calls them too.
GO ?= go
export CGO_ENABLED ?= 0
FUZZTIME ?= 10s

.PHONY: build test race lint fuzz bench bench-interop bench-journal cross bigendian golden interop conformance fake-mirror fake-python fake-ceph fake-bodies fake-rbd fake-faults fake-quorum bench-fake cli-diff bench-cli clean

build: ## the one binary
	$(GO) build -trimpath -o bin/rbdm ./cmd/rbdm

test: ## all tests that need no Ceph
	$(GO) test ./...

race: ## the same under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -shuffle on ./...

lint:
	@f=$$(gofmt -s -l $$(git ls-files '*.go')); test -z "$$f" || { echo "gofmt -s: $$f"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags interop ./...

fuzz: ## every fuzz target for FUZZTIME
	scripts/fuzz $(FUZZTIME)

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

cross: ## static builds of every platform we ship
	scripts/cross

bigendian: ## the codecs' tests on big-endian s390x under qemu-user
	scripts/bigendian

golden: ## renew the golden bytes from real clusters (root, Debian)
	scripts/golden 16 18 20

interop: ## against real clusters of 16.2, 18.2 and 20.2 and across them (root, Debian)
	scripts/interop-rados 16 18 20
	scripts/interop 16:16 18:18 20:20 16:20 20:16
	RBDM_INTEROP_SECURE=1 RBDM_INTEROP_RUN='^TestInteropSnapshotMirroring$$' scripts/interop 16:16 20:20 16:20 20:16

cli-diff: ## every command line of the lists with rbd 16.2 and 20.2 and with ours (root, Debian)
	RBDM_INTEROP_RUN='^TestCLIDiff$$' scripts/interop 16:16 20:20

bench-interop: ## our daemon and Ceph's in turn on two real clusters (root, Debian)
	scripts/bench-interop

bench-journal: ## the same in journal mode
	scripts/bench-journal

bench-cli: ## commands of rbd and of ours in turn on a real cluster (root, Debian)
	scripts/bench-cli

conformance: ## Ceph's own test suites against the fake cluster (root, Debian)
	scripts/interop-env 16 18 20
	scripts/conformance 20
	scripts/conformance 18
	scripts/fake-saveload 16 18 20

fake-mirror: ## Ceph's own rbd-mirror between two fake clusters (root, Debian)
	scripts/fake-mirror 16 18 20

fake-python: ## Ceph's Python bindings on a fake and on a real cluster: every answer the same (root, Debian)
	scripts/fake-python 16 20

fake-bodies: ## our own tests of all clients on a fake and on a real cluster: all pass on both (root, Debian)
	scripts/fake-bodies 16 18 20

fake-ceph: ## the ceph and rados programs on a fake and on a real cluster: every line the same (root, Debian)
	scripts/fake-ceph 16 20

fake-rbd: ## the rbd program on a fake cluster: every line of all lists as on a real one (root, Debian)
	scripts/fake-rbd 16 18 20

fake-faults: ## Ceph's own programs on fake clusters that have every kind of fault (root, Debian)
	scripts/fake-faults 16 18 20

fake-quorum: ## Ceph's own clients while monitors of a fake cluster stop and start (root, Debian)
	scripts/fake-quorum 16 18 20

bench-fake: ## rados bench on a fake and on a real cluster, start-up and memory (root, Debian)
	scripts/bench-fake

clean:
	rm -rf bin dist
