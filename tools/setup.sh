#!/usr/bin/env bash
# usage: tools/setup.sh [all|bench]
# Installs the Debian packages that building and testing need; with `all`, also those of the checks (make check); with `bench`, also
# those that `make bench-peers` measures against.
# As root it calls apt-get; otherwise it prints the command and exits 1. Silent when nothing is missing.
set -euo pipefail

packages=(
    gcc           # C11 compiler, with the sanitizers' runtimes
    libc6-dev     # C library headers
    make          # the front of the build
    cmake         # the build, its presets, ctest
    ninja-build   # what the presets generate for
    pkgconf       # finds the libraries below, and dsv4 once installed
    libhwloc-dev  # cores, caches and NUMA nodes of the machine
    libjansson-dev # JSON: file headers, configurations, traces
    libpcre2-dev  # the patterns of a tokenizer
    zlib1g-dev    # checksums of files
    libcairo2-dev # pictures of traces: SVG and PNG
    libcmocka-dev # unit tests
)
check_packages=(
    clang           # a second compiler's warnings; libFuzzer
    libclang-rt-dev # runtimes of clang's sanitizers and of libFuzzer, in the version of package clang
    clang-format    # the source format
    cppcheck        # static analysis
    chromium        # opens the page that shows a trace, in its test
)
bench_packages=(
    libdnnl-dev     # oneDNN
    libopenblas-dev # OpenBLAS
)

case "${1-}" in
'') ;;
all) packages+=("${check_packages[@]}") ;;
bench) packages+=("${bench_packages[@]}") ;;
*)
    echo "usage: tools/setup.sh [all|bench]" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "tools/setup.sh: not a Debian system; what it needs, by Debian's names: ${packages[*]}" >&2
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status} ' "$package" 2>/dev/null || true)
    [[ " $state" == *" installed "* ]] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "tools/setup.sh: packages are missing; install them and try again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
echo "installing ${missing[*]}"
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
