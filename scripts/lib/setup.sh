# Shared by the scripts: what they need from the distribution, where caches lie, how they speak.
# Sourced, never run.

LETHE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LETHE_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/lethe
LETHE_TARGET=${CARGO_TARGET_DIR:-$LETHE_ROOT/target}/x86_64-unknown-linux-gnu/release

say() { printf '\033[1;32m%12s\033[0m %s\n' "$1" "$2" >&2; }
[ -t 2 ] || say() { printf '%12s %s\n' "$1" "$2" >&2; }
die() { printf 'error: %s\n' "$1" >&2; [ $# -lt 2 ] || printf 'help: %s\n' "$2" >&2; exit 1; }

# What each purpose takes from the distribution (Debian 12 names).
PACKAGES_BUILD="build-essential cmake clang libclang-dev pkg-config git linux-source-6.12 flex bison bc libelf-dev libssl-dev xz-utils lz4 cpio"
PACKAGES_BOOT="qemu-system-x86 ovmf swtpm swtpm-tools"
PACKAGES_MODEL="python3 python3-pip python3-venv unzip curl ca-certificates"
PACKAGES_FIRMWARE="build-essential nasm acpica-tools uuid-dev python3 patch xz-utils curl ca-certificates"
PACKAGES_TEST="mtools dosfstools osslsigncode gdisk qemu-utils tpm2-tools"

# need_packages NAME…: installs what is missing, saying so; sudo when not root.
need_packages() {
    command -v dpkg-query >/dev/null || die "this script installs its tools with apt, and this is no Debian" \
        "install the equivalents of: $*"
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say Installing "${missing[*]} (apt)"
    local as=()
    [ "$(id -u)" = 0 ] || as=(sudo)
    "${as[@]}" apt-get update -qq
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null \
        || die "apt could not install: ${missing[*]}" "install them by hand, then run this script again"
}

need_rust() {
    command -v cargo >/dev/null || die "cargo is not installed" "install Rust from https://rustup.rs, then run this script again"
}

# A Python environment of the project's own, under the cache: need_python NAME PACKAGE==VERSION…
# prints the path of its interpreter.
need_python() {
    local place=$LETHE_CACHE/python/$1
    shift
    local want="$*"
    if [ "$(cat "$place/packages" 2>/dev/null)" != "$want" ]; then
        say Installing "$want (PyPI)"
        rm -rf "$place"
        python3 -m venv "$place" >&2
        "$place/bin/pip" install -q --disable-pip-version-check "$@" >&2
        echo "$want" >"$place/packages"
    fi
    echo "$place/bin/python"
}
