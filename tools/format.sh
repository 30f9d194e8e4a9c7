#!/usr/bin/env bash
# usage: tools/format.sh [--check]
# Lays out every C file by .clang-format; with --check, changes nothing and fails on the first difference it names.
# CLANG_FORMAT names another clang-format.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1-}" in
'') mode=(-i) ;;
--check) mode=(--dry-run --Werror) ;;
*)
    echo "usage: tools/format.sh [--check]" >&2
    exit 2
    ;;
esac
find include src tests -name '*.[ch]' -print0 | sort -z | xargs -0 "${CLANG_FORMAT:-clang-format}" "${mode[@]}"
