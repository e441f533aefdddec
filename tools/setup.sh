#!/bin/sh
# Sets up what the Makefile needs, and says what to do where it cannot:
#   setup.sh venv DIR     a virtual environment with sampan (editable) and its developers' tools
#   setup.sh system       the system packages that the engine uses
#   setup.sh tests DIR    those that the tests use besides, and a docker CLI in DIR if the machine has none
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }
die() { say "$*"; exit 1; }
debian() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }
root() { [ "$(id -u)" = 0 ]; }

# ── system packages ──────────────────────────────────────────────────────────────────────────────────────────────

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "$@" >/dev/null
}

# Debian starts services as it installs them unless this file says no; whatever was there before comes back.
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    kept=""
    if [ -e $policy ] || [ -L $policy ]; then
        kept=$policy.before-sampan
        mv $policy $kept
    fi
    trap restore_services EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
}

restore_services() {
    rm -f "$policy"
    [ -z "$kept" ] || mv "$kept" "$policy"
    trap - EXIT
}

install_packages() {
    say "installing $*"
    forbid_services
    apt install --no-install-recommends "$@" || { apt update && apt install --no-install-recommends "$@"; } ||
        die "apt-get could not install: $*"
    restore_services
}

# need PACKAGE TEST: remembers the packages whose test command fails.
missing=""
need() {
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

library() { ldconfig -p 2>/dev/null | grep -q "$1" || ls /lib*/"$1"* /usr/lib*/"$1"* /usr/lib/*/"$1"*; }

satisfy() {
    [ -n "$missing" ] || return 0
    # shellcheck disable=SC2086 # a list of package names
    if debian && root; then
        install_packages $missing
    elif debian; then
        say "some of this needs packages that are not installed; run: sudo apt-get install$missing"
    else
        say "some of this needs programs that are not installed; by Debian's package names:$missing"
    fi
    missing=""
}

system() {
    PATH=$PATH:/usr/sbin:/sbin
    need nftables command -v nft
    need libnftables1 library libnftables.so.1
    need libseccomp2 library libseccomp.so.2
    need busybox command -v busybox
    need procps command -v ps
    satisfy
}

tests() {
    PATH=$PATH:/usr/sbin:/sbin
    system
    need iproute2 command -v ip
    need iputils-ping command -v ping
    need curl command -v curl
    need crun command -v crun
    need runc command -v runc
    need tini command -v tini-static
    need lxc command -v lxc-start
    need containernetworking-plugins test -x /usr/lib/cni/portmap
    need iptables command -v iptables
    need btrfs-progs command -v mkfs.btrfs
    need xfsprogs command -v mkfs.xfs
    need docker-registry command -v docker-registry
    need apache2-utils command -v htpasswd
    need openssl command -v openssl
    need skopeo command -v skopeo
    need umoci command -v umoci
    need podman command -v podman
    need docker.io command -v dockerd
    need docker-compose command -v docker-compose
    satisfy
    command -v docker >/dev/null || [ -x "$1/bin/docker" ] || docker_cli "$1/bin"
}

# The docker CLI alone, out of Debian's package: nothing is installed, no daemon comes with it.
docker_cli() {
    say "bringing a docker CLI to $1 (the machine has none)"
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    if debian && root && ! apt-cache show docker.io >/dev/null 2>&1; then apt update || true; fi
    for package in docker-cli docker.io; do
        (cd "$scratch" && apt-get -qq download "$package") >/dev/null 2>&1 || continue
        dpkg-deb --fsys-tarfile "$scratch"/*.deb | tar -x -C "$scratch" ./usr/bin/docker 2>/dev/null &&
            cp "$scratch/usr/bin/docker" "$1/docker" && break
    done
    rm -rf "$scratch"
    [ -x "$1/docker" ] || say "no docker CLI was found: the tests that drive the real one will be skipped"
}

# ── the virtual environment ──────────────────────────────────────────────────────────────────────────────────────

python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    die "sampan needs Python 3.11 or newer, and there is none on the PATH (say make PYTHON=/path/to/python3)"
}

venv() {
    python=$(python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        debian || die "$python has no venv module: install it with your system's packages"
        root || die "$python has no venv module; run: sudo apt-get install $package"
        install_packages "$package"
    fi
    [ -x "$1/bin/python" ] && "$1/bin/python" -c '' 2>/dev/null || { rm -rf "$1" && "$python" -m venv "$1"; }
    say "installing sampan and its tools into $1 ($("$1/bin/python" --version))"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
}

"$@"
