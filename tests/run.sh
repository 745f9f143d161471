#!/usr/bin/env bash
# Everything that has to hold: formatting, lints, licences, all tests.
#   bash tests/run.sh
# Installs what the tests need and is missing, at pinned versions: PostgreSQL, Chromium, lzop and Java from Debian; trackers, the
# analytics SDK and stand-ins of AWS into .tools. Quick when all is there already. Says at its end how long each step took.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/local/needs.sh
source deploy/local/emulators.sh

steps=()
step() { # name
  end_step
  current=$1
  began=$SECONDS
  printf '\n== %s\n' "$1"
}
end_step() {
  [ -z "${current:-}" ] || steps+=("$(printf '%5d s  %s' $((SECONDS - began)) "$current")")
}

step 'tools'
need_cargo
cargo fmt --version >/dev/null 2>&1 || missing 'rustfmt' 'rustup component add rustfmt'
cargo clippy --version >/dev/null 2>&1 || missing 'clippy' 'rustup component add clippy'
packages=()
have_postgres || packages+=(postgresql-15)
have_compiler || packages+=(build-essential cmake)
[ -x /usr/bin/chromium ] || packages+=(chromium)
command -v lzop >/dev/null 2>&1 || packages+=(lzop)
have_javac || packages+=(openjdk-17-jdk-headless)
install "${packages[@]}"

install_python_tools
install_node_tools
install_jars dynamodb-local
build_kcl kcl2
build_kcl kcl3
if ! cmp -s tests/tools/dbt-requirements.txt .tools/dbt/installed.txt; then
  echo 'installing into .tools/dbt: dbt for PostgreSQL'
  python3 -m venv --clear .tools/dbt
  .tools/dbt/bin/pip install --quiet --disable-pip-version-check --requirement tests/tools/dbt-requirements.txt
  cp tests/tools/dbt-requirements.txt .tools/dbt/installed.txt
fi

step 'formatting'
cargo fmt --all --check
step 'licences'
python3 tests/tools/licences.py
step 'lints'
cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
step 'build of the tests'
# Built together, so that the program under test and the tests share what they depend on.
cargo build --workspace --bins --tests --locked --quiet
cargo test --workspace --locked --quiet --no-run
step 'tests'
export SNOWMELT_BIN="$PWD/target/debug/snowmelt" SNOWMELT_TOOLS="$PWD/.tools"
cargo test --workspace --locked
step 'the pipeline on stand-ins of AWS'
# Those that begin with Place::start; faults, loaders and fleets on stand-ins are among the tests above.
SNOWMELT_BACKEND=aws cargo test --package snowmelt-tests --test product --locked -- accounting restart::stopped replay trackers
end_step
printf '\nall green\n'
printf '%s\n' "${steps[@]}"
