#!/usr/bin/env bash
# Snowmelt on this machine: installs what is missing (and says so first), builds, and runs the quick start.
#   bash deploy/local/up.sh [arguments of `snowmelt run`]
# Made for Debian 12 with Rust; PostgreSQL comes from Debian. Stop with Ctrl-C; data stays in .data.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source deploy/local/needs.sh

need_cargo
packages=()
have_postgres || packages+=(postgresql-15)
have_compiler || packages+=(build-essential cmake)
install "${packages[@]}"

echo "building snowmelt (the first time takes some minutes)"
cargo build --profile quick --locked -p snowmelt
echo "starting the quick start: the pipeline in one process, its data in .data"
exec target/quick/snowmelt run pipelines/quickstart.toml --data-dir .data "$@"
