# make demo   sets up libtorch, builds, paints a small image set, compresses it, trains on it, writes demo-out/report.html
# make test   all tests, reference tests against PyTorch, torchvision, Pillow and datasets included
# make build  the program: target/release/smalti
# make lint   formatting and clippy, warnings denied
# make soak   the long tests: 10 million damaged inputs, 100 kills (five minutes on two cores)
# make bench  speed against PyTorch, torchvision, Pillow and numpy, side by side, into results/ (20 minutes on two cores that do nothing else)

.PHONY: demo test build lint soak bench setup setup-full clean
.NOTPARALLEL:

CARGO = cargo
PROFILE = --release --locked

demo: build
	$(CARGO) run $(PROFILE) --quiet -p smalti -- demo

build: setup
	$(CARGO) build $(PROFILE) -p smalti

test: setup-full
	SMALTI_REFERENCES=required $(CARGO) test $(PROFILE) --workspace

soak: setup-full
	SMALTI_FUZZ_INPUTS=46000 $(CARGO) test $(PROFILE) --workspace --test it -- --nocapture damaged_input
	SMALTI_KILLS=100 $(CARGO) test $(PROFILE) --workspace --test faults -- --nocapture killed

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(PROFILE) --workspace --all-targets -- -D warnings

bench: setup-full build
	.venv/bin/python benches/run.py

setup:
	@scripts/setup.sh lean

setup-full:
	@scripts/setup.sh full

clean:
	$(CARGO) clean
