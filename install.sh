#!/usr/bin/env bash
# Makes this checkout runnable in an environment of its own, .venv, and runs it; or installs it as a service.
#
# demo and test change nothing outside the checkout but Debian packages, and those only where apt-get may be used
# without asking anybody. install goes through a folder of wheels whose hashes are written down, whether it was made
# a moment ago or brought on a stick, into a folder of its own; only when that is whole and accepts the
# configuration does `current` point to it. So an install that fails leaves what was running as it was.
# Standard output belongs to the program that is run; whatever the installer says goes to standard error.
set -euo pipefail
umask 022 # the service reads what root installs; what is private is given its mode where it is made

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
venv=$here/.venv
stamp=$venv/.installed # what was installed, from which pyproject.toml, and where: a copied .venv points elsewhere

usage() {
    cat <<'TEXT'
Usage: ./install.sh [VERB] [ARGUMENT...]

  install    install or upgrade the service edge-agent; the verb may be left out
             sudo ./install.sh
             sudo ./install.sh --wheels DIR   from a folder made by `bundle`: no network is used
             ./install.sh --root DIR          into another root: an image that is being built
  uninstall  remove the service; configuration, keys, log and snapshots stay
             sudo ./install.sh uninstall
  bundle     make a folder to install from without a network, for machines like this one
             ./install.sh bundle DIR
  demo       run the demonstration: a simulated plant, the agent and a mirror
             ./install.sh demo --seconds 20 --json
  test       run every check: ruff, mypy and pytest, which gets the arguments
             ./install.sh test -k floor_plan
  bench      measure what is promised beside a bare pymodbus loop, and how it grows with the plant: five minutes
             ./install.sh bench --svg growth.svg
  help       show this

Needs Python 3.11 or later, and but for --wheels its venv module; test and bench also need mosquitto, and
test ssh-keygen. demo needs a package index the first time, and again when pyproject.toml has changed;
test, bench and bundle always do.
TEXT
}

say() { printf 'install.sh: %s\n' "$*" >&2; }

# Say what is wrong and end: 2 when the call was wrong, else 1.
refuse() {
    say "$1"
    exit "${2:-1}"
}

# What is removed at the end, however it ends.
trash=()
clean_up() { if ((${#trash[@]})); then rm -rf "${trash[@]}"; fi; }
trap clean_up EXIT

# ---- an environment for the checkout

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

# Print the Debian packages without which no environment can be made, one a line.
missing_for_venv() {
    local python
    python=$(find_python)
    if [[ -z $python ]]; then
        printf 'python3\npython3-venv\n'
    elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
}

# Say whether Debian packages may be installed without asking anybody.
may_apt() { command -v apt-get >/dev/null && { ((EUID == 0)) || sudo -n true 2>/dev/null; }; }

# Install Debian packages, or name the one command that does and end.
apt_install() {
    local -a as_root=()
    if ((EUID != 0)); then as_root=(sudo -n); fi
    if ! may_apt; then
        say "missing: $*. Run this, then try again:"
        say "  sudo apt-get install -y $*"
        exit 1
    fi
    say "installing $*"
    local -a install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@")
    "${install[@]}" >/dev/null || { "${as_root[@]}" apt-get update -qq >&2 && "${install[@]}" >/dev/null; } ||
        refuse "apt-get could not bring $* (see above): have the network back, or install it from a package on a stick"
}

# Let a pip bring packages from an index, or say how it is done without one.
pip_online() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$@" >&2 || {
        say 'pip could not bring what is needed (see above). Is there a network, and room (df -h)? To install without one:'
        say '  ./install.sh bundle DIR                 on a machine like this one that has a network'
        say '  sudo DIR/install.sh --wheels DIR        here, from a stick'
        exit 1
    }
}

# Have a Python that can make environments, and print its name.
need_python() {
    local python
    local -a packages
    mapfile -t packages < <(missing_for_venv)
    if ((${#packages[@]})); then apt_install "${packages[@]}"; fi
    python=$(find_python)
    [[ -n $python ]] || refuse "got $(python3 --version 2>&1 || true), wanted Python 3.11 or later"
    echo "$python"
}

# Make .venv hold what pyproject.toml asks for with these extras.
prepare() {
    local extras=$1 python
    python=$(need_python)
    say "preparing .venv with $("$python" --version) for $extras"
    if ! [[ -f $stamp && $(sed -n 2p "$stamp") == "$here" ]] || ! "$venv/bin/python" -m pip --version &>/dev/null; then
        "$python" -m venv --clear "$venv" >&2
    fi
    rm -f "$stamp"
    (cd "$here" && pip_online "$venv/bin/python" -m pip install -q -e ".[$extras]")
    { echo "$extras" && wanted_stamp; } >"$stamp"
}

# ---- checks

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
    # Most of the tests' time is waiting: four processes need a third of it, on two cores too.
    check pytest "$python" -m pytest -n 4 --dist worksteal "$@"
    if ((${#failed[@]})); then
        say "FAILED after $SECONDS s: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"
        exit 1
    fi
    say "all checks passed in $SECONDS s"
}

# ---- a folder of wheels

# Fill a folder with the wheels of this checkout and all it needs, and write down their hashes.
bundle() {
    local folder=$1 python build
    [[ -f $here/pyproject.toml ]] || refuse "got no pyproject.toml beside install.sh, wanted a checkout to make wheels of"
    if [[ -e $folder ]] && { [[ ! -d $folder ]] || [[ -n $(ls -A "$folder") ]]; }; then
        refuse "got $folder, which holds something, wanted a new or empty folder" 2
    fi
    python=$(need_python)
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd -P)
    build=$(mktemp -d)
    trash+=("$build" "$folder") # it is whole or not there
    say "making wheels with $("$python" --version)"
    "$python" -m venv "$build" >&2 || refuse "could not make $build (see above): is there room (df -h)?"
    pip_online "$build/bin/python" -m pip wheel -q -w "$folder" "${here}[cli]" pip
    (cd "$folder" && write_requirements >requirements.txt)
    cp "${BASH_SOURCE[0]}" "$folder/install.sh"
    unset 'trash[-1]'
}

# Print one line for each wheel of this folder: name, version, hash. pip installs the others and is not installed.
write_requirements() {
    local wheel name rest
    for wheel in *.whl; do
        name=${wheel%%-*} rest=${wheel#*-}
        if [[ $name == edge_agent ]]; then name='edge_agent[cli]'; fi
        if [[ $name == pip ]]; then name='# by pip'; fi
        printf '%s==%s --hash=sha256:%s\n' "$name" "${rest%%-*}" "$(sha256sum <"$wheel" | cut -d' ' -f1)"
    done
}

# ---- the service

root='' # of another file system, with --root
changed=()
before='' # the environment that `current` pointed to, when it was changed
next=() # what a person does now, said last

# Do something to the system, and remember what it was.
change() {
    local what=$1
    shift
    "$@"
    changed+=("$what")
}

# Print a number of the service's user, as the root that is installed into knows it: 3 is the user, 4 the group.
id_of() { awk -F: -v field="$1" '$1 == "edge-agent" { print $field }' "$root/etc/passwd" 2>/dev/null || true; }

# Have a file with this content.
put() {
    local source=$1 target=$root$2 mode=$3
    if [[ ! -f $target ]] || ! cmp -s "$source" "$target"; then
        change "$2" install -D -m "$mode" "$source" "$target"
    fi
}

# Have the folder of the configuration, which the service may read, and one of passwords, which only root may.
put_folders() {
    local folder=$root/etc/edge-agent group
    [[ -d $folder ]] || change /etc/edge-agent install -d -m 0750 "$folder"
    group=$(id_of 4)
    if ((EUID == 0)) && [[ -n $group && $(stat -c %g "$folder") != "$group" ]]; then
        change '/etc/edge-agent (group)' chgrp "$group" "$folder"
    fi
    [[ -d $folder/credentials ]] || change /etc/edge-agent/credentials install -d -m 0700 "$folder/credentials"
}

put_user() {
    [[ -z $(id_of 3) ]] || return 0
    if ((EUID != 0)); then return 0; fi # only with --root: the image's own first start makes it
    mkdir -p "$root/etc"
    if command -v systemd-sysusers >/dev/null; then
        change 'user edge-agent' systemd-sysusers ${root:+--root="$root"} "$root/usr/lib/sysusers.d/edge-agent.conf"
    else
        change 'user edge-agent' useradd ${root:+--root "$root"} --system --no-create-home \
            --home-dir /var/lib/edge-agent --shell /usr/sbin/nologin --groups dialout edge-agent
    fi
}

# Have the environment of these wheels, whole or not at all; its name is the hash of their hashes.
put_environment() {
    local wheels=$1 target=$2 python pip
    [[ -f $target/.complete ]] && return 0
    pip=$(echo "$wheels"/pip-*.whl)
    grep -q "^# by pip==.*sha256:$(sha256sum <"$pip" | cut -d' ' -f1)\$" "$wheels/requirements.txt" ||
        refuse "got $pip with another hash than in requirements.txt, wanted it as ./install.sh bundle made it"
    python=$(find_python) # without its ensurepip package, which a gateway without a network may lack
    python=${python:-$(need_python)}
    rm -rf "$target"
    mkdir -p "$target"
    trash+=("$target")
    say "installing into ${target#"$root"}"
    "$python" -m venv --without-pip "$target" >&2 || refuse "could not make $target (see above): is there room (df -h)?"
    PYTHONPATH=$pip PIP_DISABLE_PIP_VERSION_CHECK=1 "$target/bin/python" -m pip install -q --no-index --no-compile \
        --find-links "$wheels" --require-hashes -r "$wheels/requirements.txt" >&2 ||
        refuse "could not install from $wheels (see above): was it made for this Python and machine, and is there room (df -h)?"
    "$target/bin/python" -m compileall -q "$target/lib" >/dev/null || true # a library may carry a file for other Pythons
    # Where it will stand when that root is booted. Room is asked for last: a full disk also shows in what was compiled.
    { [[ -z $root ]] || sed -i "1s|^#!$root/|#!/|" "$target"/bin/*; } && head -c 1M /dev/zero >"$target/.complete" &&
        : >"$target/.complete" || refuse "no room for $target (df -h); what was installed before goes on unchanged"
    unset 'trash[-1]'
    changed+=("${target#"$root"}")
}

# Where an NTP daemon keeps no flag that a confined service can see, let the service ask the kernel.
put_clock_access() {
    local drop_in=/etc/systemd/system/edge-agent.service.d/clock.conf text
    [[ -n $root || ! -d /run/systemd/system ]] && return 0
    systemctl is-active -q systemd-timesyncd && return 0
    text=$(mktemp)
    printf '[Service]\nProtectClock=no\nSystemCallFilter=adjtimex clock_adjtime\n' >"$text"
    put "$text" "$drop_in" 0644
    rm -f "$text"
}

# Have the commands completed by bash.
put_completion() {
    local text
    text=$(mktemp)
    trash+=("$text")
    "$1/bin/python" "$1/bin/edge-agent" completion bash >"$text"
    put "$text" /usr/share/bash-completion/completions/edge-agent 0644
}

# Make the gateway's keys now, so that its public key can be taken along.
put_keys() {
    local data=$root/var/lib/edge-agent
    [[ -d $data ]] || change /var/lib/edge-agent install -d -m 0700 "$data"
    if ((EUID == 0)) && [[ -n $(id_of 3) && $(stat -c %u "$data") != "$(id_of 3)" ]]; then
        change '/var/lib/edge-agent (owner)' chown "$(id_of 3):$(id_of 4)" "$data"
    fi
    if [[ -z $root && ! -f $data/keys/agent.key ]]; then
        change "$data/keys" setpriv --reuid "$(id_of 3)" --regid "$(id_of 4)" --clear-groups \
            /opt/edge-agent/current/bin/edge-agent keys new /etc/edge-agent/agent.toml >&2
    fi
}

# Point `current` to an environment, at once or not at all.
switch_to() {
    local target=$1 link=$root/opt/edge-agent/current was
    was=$(readlink "$link" 2>/dev/null || true)
    if [[ $was == "$(basename "$target")" ]]; then return 0; fi
    before=$was
    ln -sfn "$(basename "$target")" "$link.new"
    mv -T "$link.new" "$link"
    changed+=(/opt/edge-agent/current)
}

# Remove environments that are neither the present one nor the one before it: two are enough to go back.
remove_old() {
    local folder
    while read -r folder; do
        [[ -n $folder ]] || continue
        change "${folder#"$root"} removed" rm -rf "$folder"
    done < <(find "$root/opt/edge-agent" -mindepth 1 -maxdepth 1 -type d ! -name "$(basename "$1")" -printf '%T@ %p\n' |
        sort -rn | tail -n +2 | cut -d' ' -f2-)
}

check_configuration() {
    local found
    found=$("$1/bin/python" "$1/bin/edge-agent" check ${root:+--elsewhere} "$root/etc/edge-agent/agent.toml" 2>&1) && return 0
    printf '%s\n' "$found" >&2
    refuse 'this version does not accept /etc/edge-agent/agent.toml; what was installed before goes on unchanged'
}

# Have the service start with the machine, and now; but not before somebody has said what to read: the first start
# begins a log that keeps the gateway's name for ever.
start_service() {
    local wanted=$root/etc/systemd/system/multi-user.target.wants/edge-agent.service runs=''
    if [[ -z $root && -d /run/systemd/system ]]; then
        runs=yes
        if ((${#changed[@]})); then systemctl daemon-reload; fi
    fi
    if cmp -s "$1" "$root/etc/edge-agent/agent.toml"; then
        next=('next: say in /etc/edge-agent/agent.toml what to read (sudo nano /etc/edge-agent/agent.toml), then:'
            '  sudo edge-agent check /etc/edge-agent/agent.toml && sudo systemctl enable --now edge-agent')
        return 0
    fi
    if [[ ! -L $wanted ]]; then
        install -d "$(dirname "$wanted")"
        change 'service enabled' ln -s ../edge-agent.service "$wanted"
    fi
    if [[ -z $runs ]]; then
        next=('systemd does not run here: the service starts when it does')
    elif ((${#changed[@]})) || ! systemctl is-active -q edge-agent; then
        systemctl restart edge-agent || refuse "the service does not start: journalctl -u edge-agent says why.${before:+ To go back: sudo ln -sfn $before /opt/edge-agent/current && sudo systemctl restart edge-agent}"
        changed+=('service started')
        next=('next: sudo edge-agent status /etc/edge-agent/agent.toml --watch')
    fi
}

run_install() {
    local wheels='' target files
    while (($#)); do
        case $1 in
        --wheels) wheels=${2:?--wheels wants a folder} && shift 2 ;;
        --root) root=$(realpath -m -- "${2:?--root wants a folder}") && shift 2 ;;
        *) refuse "got $1, wanted --wheels DIR or --root DIR (see ./install.sh help)" 2 ;;
        esac
    done
    if ((EUID != 0)) && [[ -z $root ]]; then
        refuse 'got a user who is not root, wanted: sudo ./install.sh (to look at it only: ./install.sh demo)' 2
    fi
    if [[ -z $root ]]; then PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH; fi # a Python in somebody's home is not for a service
    if [[ -z $wheels ]]; then
        wheels=$(mktemp -d)
        trash+=("$wheels")
        bundle "$wheels"
    fi
    [[ -f $wheels/requirements.txt ]] || refuse "got $wheels without a requirements.txt, wanted a folder made by: ./install.sh bundle DIR"
    wheels=$(cd "$wheels" && pwd -P)
    target=$root/opt/edge-agent/$(sha256sum <"$wheels/requirements.txt" | cut -c1-12)
    put_environment "$wheels" "$target"
    files=$(echo "$target"/lib/python3*/site-packages/edge_agent/install)
    put "$files/sysusers.conf" /usr/lib/sysusers.d/edge-agent.conf 0644
    put_user
    put_folders
    if [[ ! -e $root/etc/edge-agent/agent.toml ]]; then put "$files/agent.toml" /etc/edge-agent/agent.toml 0644; fi
    check_configuration "$target"
    put "$files/edge-agent.service" /etc/systemd/system/edge-agent.service 0644
    put_clock_access
    switch_to "$target"
    if [[ $(readlink "$root/usr/local/bin/edge-agent" 2>/dev/null) != /opt/edge-agent/current/bin/edge-agent ]]; then
        change /usr/local/bin/edge-agent install -d "$root/usr/local/bin"
        ln -sfn /opt/edge-agent/current/bin/edge-agent "$root/usr/local/bin/edge-agent"
    fi
    put_completion "$target"
    put_keys
    remove_old "$target"
    start_service "$files/agent.toml"
    if ((${#changed[@]})); then
        say "changed: $(printf '%s, ' "${changed[@]}" | sed 's/, $//')"
    else
        say 'nothing to change: this version is installed'
    fi
    local line
    for line in "${next[@]}"; do say "$line"; done
}

run_uninstall() {
    while (($#)); do
        case $1 in
        --root) root=$(realpath -m -- "${2:?--root wants a folder}") && shift 2 ;;
        *) refuse "got $1, wanted --root DIR or nothing" 2 ;;
        esac
    done
    if ((EUID != 0)) && [[ -z $root ]]; then refuse 'got a user who is not root, wanted: sudo ./install.sh uninstall' 2; fi
    if [[ -z $root && -d /run/systemd/system ]]; then systemctl disable -q --now edge-agent 2>/dev/null || true; fi
    rm -rf "$root/opt/edge-agent" "$root/etc/systemd/system/edge-agent.service.d"
    rm -f "$root/etc/systemd/system/edge-agent.service" "$root/usr/local/bin/edge-agent" \
        "$root/usr/lib/sysusers.d/edge-agent.conf" "$root/usr/share/bash-completion/completions/edge-agent" \
        "$root/etc/systemd/system/multi-user.target.wants/edge-agent.service"
    if [[ -z $root && -d /run/systemd/system ]]; then systemctl daemon-reload; fi
    say 'removed; /etc/edge-agent, /var/lib/edge-agent and the user edge-agent stay'
}

# ---- the verbs

run_in_checkout() {
    local extras=$1
    shift
    if ! is_prepared "$extras"; then prepare "$extras"; fi
    "$@"
}

verb=install
if (($#)) && [[ $1 != --* ]]; then
    verb=$1
    shift
fi
if [[ ${1:-} == --help || ${1:-} == -h ]]; then verb=help; fi
case $verb in
install) run_install "$@" ;;
uninstall) run_uninstall "$@" ;;
bundle)
    (($# == 1)) || refuse 'wanted: ./install.sh bundle DIR' 2
    bundle "$1"
    say "made $1: bring it to the gateway, then: sudo $1/install.sh --wheels $1"
    say "SHA-256 of its requirements.txt, to compare there: $(sha256sum <"$1/requirements.txt" | cut -d' ' -f1)"
    ;;
demo) run_in_checkout cli,demo exec "$venv/bin/edge-agent" demo "$@" ;;
test)
    has_mosquitto || apt_install mosquitto
    command -v ssh-keygen >/dev/null || apt_install openssh-client
    if ! command -v chromium >/dev/null; then # a page is looked at in a browser where there is one
        if may_apt; then apt_install chromium fonts-dejavu-core; else say 'no chromium: pages are not tested in a browser'; fi
    fi
    run_in_checkout cli,demo,test run_checks "$@"
    ;;
bench)
    has_mosquitto || apt_install mosquitto
    command -v ssh-keygen >/dev/null || apt_install openssh-client
    if ! command -v chromium >/dev/null; then # a page is looked at in a browser where there is one
        if may_apt; then apt_install chromium fonts-dejavu-core; else say 'no chromium: pages are not tested in a browser'; fi
    fi
    run_in_checkout cli,demo,test exec "$venv/bin/python" "$here/tests/benchmarks/figures.py" "$@"
    ;;
help | -h) usage ;;
*)
    say "got the verb $verb, wanted install, uninstall, bundle, demo, test, bench or help"
    usage >&2
    exit 2
    ;;
esac
