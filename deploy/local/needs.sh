# What the scripts need of a machine, and how it gets there. Sourced, not run.

# The server's programs: Debian keeps them out of the path.
have_postgres() {
  command -v initdb >/dev/null 2>&1 || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

# The crypto library is C and assembly, built by the system's compiler.
have_compiler() {
  command -v cc >/dev/null 2>&1 && command -v cmake >/dev/null 2>&1
}

need_cargo() {
  if ! command -v cargo >/dev/null 2>&1 && [ -f "$HOME/.cargo/env" ]; then
    source "$HOME/.cargo/env"
  fi
  command -v cargo >/dev/null 2>&1 || missing 'cargo' 'install Rust: https://rustup.rs'
}

missing() { # what, how to get it
  echo "missing: $1 ($2)" >&2
  exit 1
}

# Installs Debian packages, as root or by sudo; nothing to do without arguments.
install() {
  [ $# -gt 0 ] || return 0
  echo "will install from Debian: $*"
  command -v apt-get >/dev/null 2>&1 || missing "$*" 'no apt-get here: install them your own way'
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || missing "$*" "as root: apt-get install $*"
    as_root=(sudo)
  fi
  # Snowmelt runs a cluster of its own: keep Debian from creating and starting one on port 5432.
  if [[ " $* " == *" postgresql-15 "* ]] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    "${as_root[@]}" mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Options::=--force-confold "$@" >/dev/null
}
