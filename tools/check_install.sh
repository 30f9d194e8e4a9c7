#!/usr/bin/env bash
# usage: tools/check_install.sh
# Installs the library, static and shared, into a temporary folder, and builds and runs a user's program against each, with nothing
# but pkg-config to find it. The public headers must also be C++.
set -euo pipefail
cd "$(dirname "$0")/.."

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cat >"$place/user.c" <<'END'
#include <dsv4/config.h>
#include <dsv4/ops.h>
#include <stdio.h>

int main(void)
{
    dsv4_config config;
    dsv4_error error = {0};
    dsv4_graph *graph = dsv4_graph_create("user");
    dsv4_status status = dsv4_config_preset("flash", &config, &error);
    printf("%s %s %s\n", dsv4_op_name(dsv4_op_at(0)), config.name, graph ? dsv4_status_text(status) : "out of memory");
    dsv4_graph_destroy(graph);
    return status != DSV4_OK;
}
END

for kind in static shared; do
    prefix=$place/$kind
    shared=OFF
    [ $kind = static ] || shared=ON
    cmake -S . -B "build/install-$kind" -G Ninja --log-level=WARNING -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O0 -DBUILD_TESTING=OFF \
        -DBUILD_SHARED_LIBS=$shared -DCMAKE_INSTALL_PREFIX="$prefix" -DCMAKE_INSTALL_LIBDIR=lib
    cmake --build "build/install-$kind"
    cmake --install "build/install-$kind" >"$place/$kind.log"
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    # The words of pkg-config's answer are arguments.
    # shellcheck disable=SC2046
    cc -std=c11 -Wall -Wextra -Werror "$place/user.c" -o "$place/user-$kind" $(pkg-config --cflags --libs dsv4)
    said=$(LD_LIBRARY_PATH=$prefix/lib "$place/user-$kind")
    [ "$said" = "rope_tables flash success" ] || {
        echo "tools/check_install.sh: $kind program printed \"$said\", expected \"rope_tables flash success\"" >&2
        exit 1
    }
    echo "$kind: installed, found by pkg-config, linked, run"
done

for header in include/dsv4/*.h; do
    printf '#include "dsv4/%s"\n' "$(basename "$header")"
done | clang++ -x c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -Iinclude -
echo "the public headers are C++ too"
