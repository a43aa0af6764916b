# Shortcuts. Everything here is a plain cargo command: `just` is not needed.

# Lists the recipes.
default:
    @just --list

# Three nodes on this machine; Ctrl-C stops them.
dev *ARGS:
    cargo run --release -- dev {{ARGS}}

# Every test.
test:
    cargo test --workspace

# The house rules: crate order, sizes, bans.
tidy:
    cargo tidy

# Whole clusters under faults, from seeds: `just sim --seeds 1..200`, `just sim --seed 7`.
sim *ARGS:
    cargo run -p quorate-tests --bin sim -- {{ARGS}}

# Decoders against damaged bytes, so many milliseconds for each (docs/fuzzing.md).
fuzz TIME_MS="60000":
    BOLERO_RANDOM_TEST_TIME_MS={{TIME_MS}} cargo test --workspace --lib fuzz

# Real processes, real disks, `kill -9`.
e2e *ARGS:
    cargo e2e {{ARGS}}

# The promise, checked: random kills and pauses, then a ledger. Exit 1 if anything confirmed is lost.
prove DURATION="60s" SEED="1":
    cargo run --release -- prove --duration {{DURATION}} --seed {{SEED}}

# Node by node from an older commit to this tree, under load. Builds two programs: some minutes, once.
upgrade *ARGS:
    cargo run -p quorate-tests --bin upgrade -- {{ARGS}}

# How fast it is here.
bench *ARGS:
    cargo run --release -- bench {{ARGS}}

# Quorate, other brokers and the floor under one load, in turns: `just compare --rounds 1`.
compare *ARGS:
    cargo build --release
    cargo run --release -p quorate-bench --features compare --bin compare -- {{ARGS}}

# The pure parts, by Criterion.
microbench *ARGS:
    cargo bench -p quorate-machine -p quorate-storage -- {{ARGS}}

# Formats the code.
fmt:
    cargo fmt --all

# Clippy, warnings as errors.
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Chart, kustomize, alerts, image, units; `just deploy --write` renders kustomize from the chart.
deploy *ARGS:
    deploy/checks/run {{ARGS}}

# What CI runs.
ci:
    .ci/run
