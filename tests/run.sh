#!/usr/bin/env bash
# Everything that has to hold: formatting, lints, licences, all tests.
#   bash tests/run.sh
# Installs what the tests need and is missing, at pinned versions: PostgreSQL, Chromium and lzop from Debian, trackers and the
# analytics SDK into .tools. Quick when all is there already. Says at its end how long each step took.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source deploy/local/needs.sh

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
command -v python3 >/dev/null 2>&1 || missing 'python3' 'apt-get install python3 python3-venv'
command -v npm >/dev/null 2>&1 || missing 'npm' 'apt-get install nodejs npm'
cargo fmt --version >/dev/null 2>&1 || missing 'rustfmt' 'rustup component add rustfmt'
cargo clippy --version >/dev/null 2>&1 || missing 'clippy' 'rustup component add clippy'
packages=()
have_postgres || packages+=(postgresql-15)
have_compiler || packages+=(build-essential cmake)
[ -x /usr/bin/chromium ] || packages+=(chromium)
command -v lzop >/dev/null 2>&1 || packages+=(lzop)
install "${packages[@]}"

# Installed again only when the pinned versions change.
if ! cmp -s tests/tools/requirements.txt .tools/python/installed.txt; then
  echo 'installing into .tools/python: the Python tracker, the analytics SDK, an emulator of SQS and S3, and a tester of interfaces'
  python3 -m venv --clear .tools/python || missing 'python3-venv' 'apt-get install python3-venv'
  .tools/python/bin/pip install --quiet --disable-pip-version-check --requirement tests/tools/requirements.txt
  cp tests/tools/requirements.txt .tools/python/installed.txt
fi
if ! cmp -s tests/tools/dbt-requirements.txt .tools/dbt/installed.txt; then
  echo 'installing into .tools/dbt: dbt for PostgreSQL'
  python3 -m venv --clear .tools/dbt
  .tools/dbt/bin/pip install --quiet --disable-pip-version-check --requirement tests/tools/dbt-requirements.txt
  cp tests/tools/dbt-requirements.txt .tools/dbt/installed.txt
fi
if ! cmp -s tests/tools/node/package-lock.json .tools/node/installed.json; then
  echo 'installing into .tools/node: the Node and browser trackers, and what drives the browser'
  mkdir -p .tools/node
  cp tests/tools/node/package.json tests/tools/node/package-lock.json .tools/node/
  npm ci --prefix .tools/node --ignore-scripts --silent --no-audit --no-fund
  cp tests/tools/node/package-lock.json .tools/node/installed.json
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
SNOWMELT_BIN="$PWD/target/debug/snowmelt" SNOWMELT_TOOLS="$PWD/.tools" cargo test --workspace --locked
end_step
printf '\nall green\n'
printf '%s\n' "${steps[@]}"
