# `make` prints what there is to do. Everything a target needs beyond the toolchains (Rust, Go, a C
# compiler, make) it fetches or builds itself; caches lie outside the repository.

SHELL := /bin/bash
.DEFAULT_GOAL := help
CARGO ?= cargo
SIM = RUSTFLAGS="--cfg beyond_record" $(CARGO) run --release --locked -q --target-dir $(or $(CARGO_TARGET_DIR),target)/beyond-record -p slotmesh-sim --
# Not by `cargo run -p`: built alone it shares few of its dependencies with the other two, and compiles them anew.
E2E = $(shell $(CARGO) metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release/slotmesh-e2e
export CARGO_TERM_COLOR ?= auto

.PHONY: help demo test build deny lint unit scenarios bench-main bench-operator bench-mesh mesh-sim soak mutants crds chart-docs manifests assets up clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## watch SlotMesh on a real Kubernetes: install, form, kill, recover, split (KEEP=1 leaves it running)
	@$(E2E) demo $(if $(filter-out 0,$(KEEP)),--keep)

test: lint unit scenarios ## everything CI runs: format, lints, unit, property and simulator tests, scenarios

build: ## build the binaries (release)
	@$(CARGO) build --release --locked -p slotmesh-agent -p slotmesh-operator -p slotmesh-e2e

# Not in `make test`: the tool is no part of a toolchain.
deny: ## what is depended on, beside deny.toml: bans, licenses, sources (needs cargo-deny)
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install cargo-deny --locked" >&2; exit 1; }
	$(CARGO) deny --locked check bans licenses sources

lint: ## formatting and clippy
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings

unit: ## unit, property and simulator tests
	$(CARGO) test --workspace --locked --all-features

scenarios: build ## stories on a real Kubernetes API, on two control planes at once
	@$(E2E) assets
	$(CARGO) test --release --locked -p slotmesh-e2e --test control_plane --test scenarios

bench-main: build ## measure what is promised, about 40 min; with ARGS=--all the demo and CI in clean clones too, about 65 min more (ARGS="--help" lists the parts, ARGS="--only kills" runs one)
	@$(E2E) bench main $(ARGS)

bench-operator: build ## measure the product on Kubernetes, about 30 min; with ARGS=--all CI in a clean clone too, about 50 min more (ARGS="--help" lists the parts, ARGS="--only split" runs one)
	@$(E2E) bench operator $(ARGS)

# With ARGS the live parts that they name, else the simulated rows as well. The page is written whatever is
# missed or fails, and the last failure is the exit code.
bench-mesh: build ## measure the health mesh, live beside its peers (about 75 min) and simulated (about 6 hours); write docs/benchmarks.md (ARGS as above)
	@trap 'exit 130' INT; code=0; $(E2E) bench mesh $(ARGS) || code=$$?; \
	$(if $(ARGS),,$(SIM) bench || code=$$?;) \
	$(if $(filter --help -h,$(ARGS)),,$(SIM) plots || code=$$?;) exit $$code

mesh-sim: ## build the simulator's tool; ARGS runs it, e.g. ARGS="sweep crash-100", ARGS="bench --only P1" (ARGS="--help")
	$(SIM) $(or $(ARGS),list)

soak: ## arbitrary inputs (CASES=20000 to member and watch, PROPERTIES=5000 of each property), random faults (FAULTS=300), every scenario (SEEDS=4 of each): about 2 hours
	SLOTMESH_FUZZ_CASES=$(or $(CASES),20000) $(CARGO) test --release --locked -p slotmesh-mesh --test machine -- --nocapture
	PROPTEST_CASES=$(or $(PROPERTIES),5000) $(CARGO) test --release --locked -p slotmesh-map -p slotmesh-mesh --all-features -- --skip sim::
	SLOTMESH_SIM_SEEDS=$(or $(FAULTS),300) $(CARGO) test --release --locked -p slotmesh-mesh --all-features sim::tests::random
	$(SIM) sweep --seeds $(or $(SEEDS),4)

mutants: ## break each rule of the detector once and see that a test fails, about half an hour (ARGS="--only silence")
	@$(CARGO) run -q --release --locked -p slotmesh-sim -- mutate $(ARGS)

crds: ## regenerate crds/ and the chart's copy from the types
	$(CARGO) run -q --locked -p slotmesh-api --bin slotmesh-crds crds charts/slotmesh/files/crds

chart-docs: ## write the table of all values into the chart's README
	@$(CARGO) run -q --locked -p slotmesh-e2e -- chart-docs

manifests: ## write deploy/install.yaml from the chart (after `make crds`, or any change of the chart)
	@$(CARGO) run -q --locked -p slotmesh-e2e -- manifests

assets: build ## build or find etcd, kube-apiserver and their companions (once, about 7 min on 2 cores)
	@$(E2E) assets

up: build ## a control plane to play with, until Ctrl-C
	@$(E2E) up

clean: build ## end and remove what a crashed run left behind
	@$(E2E) clean
