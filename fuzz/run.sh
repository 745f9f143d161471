#!/usr/bin/env bash
# Builds the fuzz targets with the nightly toolchain and runs all of them side by side, without cargo-fuzz:
#   bash fuzz/run.sh [SECONDS each, 300 by default] [TARGET...]
# Findings land in fuzz/artifacts/<target>/, what was learnt in fuzz/corpus/<target>/. Exit code 1 when there is a finding.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-300}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(thrift querystring json_body tsv collector)
host=$(rustc -vV | sed -n 's/^host: //p')
# The coverage that libFuzzer follows. No address sanitizer: the code under test has no unsafe code of its own.
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cforce-frame-pointers=yes"
export CARGO_TARGET_DIR=$PWD/target
cargo +nightly build --release --target "$host" "${targets[@]/#/--bin=}"
pids=()
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  # -timeout: a single input may take so many seconds; -rss_limit_mb: and so much memory.
  nice -n 19 "target/$host/release/$target" "corpus/$target" "seeds/$target" -max_total_time="$seconds" -timeout=10 \
    -rss_limit_mb=1024 -max_len=16384 -artifact_prefix="artifacts/$target/" >"target/$target.log" 2>&1 &
  pids+=($!)
done
found=0
for index in "${!pids[@]}"; do
  wait "${pids[$index]}" || { found=1; echo "${targets[$index]}: a finding, see fuzz/target/${targets[$index]}.log"; }
  tail -n 1 "target/${targets[$index]}.log"
done
exit $found
