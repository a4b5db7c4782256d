#!/usr/bin/env bash
# Makes this checkout runnable in an environment of its own, .venv, and runs it. Nothing is installed outside the
# checkout but Debian packages, and those only where apt-get may be used without asking anybody.
# Standard output belongs to the program that is run; whatever the installer says goes to standard error.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=$here/.venv
stamp=$venv/.installed # what was installed, from which pyproject.toml, and where: a copied .venv points elsewhere

usage() {
    cat <<'TEXT'
Usage: ./install.sh VERB [ARGUMENT...]

  demo   run the demonstration: a simulated plant, the agent and a mirror
         ./install.sh demo --seconds 20 --json
  test   run every check: ruff, mypy and pytest, which gets the arguments
         ./install.sh test -k floor_plan
  help   show this

Needs Python 3.11 or later with its venv module; test also needs mosquitto. The first run needs a
package index to install from; later ones work offline until pyproject.toml changes.
TEXT
}

say() { printf 'install.sh: %s\n' "$*" >&2; }

# Print the Python to use: the first that is new enough and can make an environment, else the first new enough.
find_python() {
    local name fallback=''
    for name in python3.13 python3.12 python3.11 python3; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        if "$name" -c 'import venv, ensurepip' 2>/dev/null; then
            echo "$name"
            return
        fi
        fallback=${fallback:-$name}
    done
    echo "$fallback"
}

has_mosquitto() { command -v mosquitto >/dev/null || [[ -x /usr/sbin/mosquitto ]]; }

# Say whether .venv already holds what pyproject.toml asks for with these extras.
is_prepared() {
    [[ -f $stamp && $(tail -n +2 "$stamp") == "$(wanted_stamp)" && ",$(head -n 1 "$stamp")," == *",$1,"* ]] &&
        "$venv/bin/python" -c '' 2>/dev/null
}

wanted_stamp() { printf '%s\n' "$here" && sha256sum <"$here/pyproject.toml"; }

# Print the Debian packages without which .venv cannot be made, one a line.
missing_for_venv() {
    local python
    python=$(find_python)
    if [[ -z $python ]]; then
        printf 'python3\npython3-venv\n'
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
}

# Install Debian packages, or name the one command that does and end.
apt_install() {
    local -a root=()
    if ((EUID != 0)); then root=(sudo -n); fi
    if ! command -v apt-get >/dev/null || { ((EUID != 0)) && ! sudo -n true 2>/dev/null; }; then
        say "missing: $*. Run this, then try again:"
        say "  sudo apt-get install -y $*"
        exit 1
    fi
    say "installing $*"
    local -a install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@")
    "${install[@]}" >/dev/null || { "${root[@]}" apt-get update -qq >&2 && "${install[@]}" >/dev/null; }
}

# Make .venv hold what pyproject.toml asks for with these extras.
prepare() {
    local extras=$1 python
    python=$(find_python)
    if [[ -z $python ]]; then
        say "got $(python3 --version 2>&1 || true), wanted Python 3.11 or later"
        exit 1
    fi
    say "preparing .venv with $("$python" --version) for $extras"
    if ! [[ -f $stamp && $(sed -n 2p "$stamp") == "$here" ]] || ! "$venv/bin/python" -m pip --version &>/dev/null; then
        "$python" -m venv --clear "$venv" >&2
    fi
    rm -f "$stamp"
    (cd "$here" && PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv/bin/python" -m pip install -q -e ".[$extras]" >&2)
    { echo "$extras" && wanted_stamp; } >"$stamp"
}

# Run one check and remember its name when it fails.
failed=()
check() {
    local name=$1
    shift
    say "$name"
    "$@" || failed+=("$name")
}

run_checks() {
    cd "$here"
    local python=$venv/bin/python
    check 'ruff check' "$python" -m ruff check
    check 'ruff format' "$python" -m ruff format --check
    check mypy "$python" -m mypy
    check pytest "$python" -m pytest "$@"
    if ((${#failed[@]})); then
        say "FAILED after $SECONDS s: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
        exit 1
    fi
    say "all checks passed in $SECONDS s"
}

verb=${1:-help}
shift || true
packages=()
case $verb in
demo) extras=cli,demo ;;
test)
    extras=cli,demo,test
    has_mosquitto || packages+=(mosquitto)
    ;;
help | -h | --help)
    usage
    exit 0
    ;;
*)
    say "unknown verb: $verb"
    usage >&2
    exit 2
    ;;
esac

if ! is_prepared "$extras"; then mapfile -t -O "${#packages[@]}" packages < <(missing_for_venv); fi
if ((${#packages[@]})); then apt_install "${packages[@]}"; fi
if ! is_prepared "$extras"; then prepare "$extras"; fi

case $verb in
demo) exec "$venv/bin/edge-agent" demo "$@" ;;
test) run_checks "$@" ;;
esac
