#!/usr/bin/env bash
# usage: test_check_layers.sh ROOT
# Plants one violation at a time in a temporary tree and expects cmake/check_layers.cmake to name its file, line and rule; then
# expects silence on code that only looks like a violation.
set -euo pipefail

root=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
n_passed=0
n_failed=0

verdict() { # ok-or-not name
    if [ "$1" = ok ]; then
        n_passed=$((n_passed + 1))
    else
        n_failed=$((n_failed + 1))
        printf 'FAIL %s\n%s\n' "$2" "$output"
    fi
}

# Writes standard input to a file of an otherwise empty tree and checks the tree: sets output and status.
check_tree_with() { # path
    rm -rf "${tree:?}"/*
    mkdir -p "$tree/src" "$tree/$(dirname "$1")"
    cat >"$tree/$1"
    status=0
    output=$(cmake -DROOT="$tree" -P "$root/cmake/check_layers.cmake" 2>&1) || status=$?
}

refuses() { # path line "beginning of the rule", code on standard input
    check_tree_with "$1"
    if [ $status -ne 0 ] && [ "$(grep -c ', rule: ' <<<"$output")" = 1 ] && grep -q "^$1:$2: .*, rule: $3" <<<"$output"; then
        verdict ok "$1"
    else
        verdict not "refuses $1 at line $2"
    fi
}

accepts() { # path, code on standard input
    check_tree_with "$1"
    if [ $status -eq 0 ] && [ -z "$output" ]; then verdict ok "$1"; else verdict not "accepts $1"; fi
}

# ---- layers
refuses src/base/a.c 3 'base uses only: base$' <<'END'
#include "base/a.h"

#include "tensor/tensor.h"
END
refuses src/tensor/a.h 1 'tensor uses only' <<<'#include "rt/graph.h"'
refuses src/rt/a.c 2 'rt uses only' <<<$'#include <stdio.h>\n#include "kernels/kernels.h"'
refuses src/kernels/a.c 1 'kernels uses only: base kernels$' <<<'#include "dsv4/tensor.h"'
refuses src/kernels/avx2/a.c 1 'kernels uses only' <<<'  #  include "ops/ops.h"'
refuses src/ops/a.c 1 'ops uses only' <<<'#include "golden/golden.h"'
refuses src/golden/a.c 1 'golden uses only' <<<'#include "dsv4/ops.h"'
refuses src/golden/a.c 1 'golden uses only' <<<'#include "kernels/kernels.h"'
refuses src/sim/a.c 1 'sim uses only' <<<'#include "kernels/kernels.h"'
refuses src/model/a.c 1 'model uses only' <<<'#include "golden/golden.h"'
refuses src/text/a.c 1 'text uses only' <<<'#include "tensor/tensor.h"'
refuses src/ops/a.c 1 "an instruction set's folder" <<<'#include "kernels/avx512/tile.h"'
refuses src/cli/a.c 1 "an instruction set's folder" <<<'#include "kernels/avx2/tile.h"'
refuses src/cli/a.c 1 'a quoted include is' <<<'#include "tests/support.h"'
refuses src/cli/a.c 1 'a quoted include is' <<<'#include "beside.h"'
refuses src/cli/a.c 1 'a quoted include is' <<<'#include "dsv4/unheard_of.h"'
refuses src/helpers/a.c 1 'cmake/check_layers.cmake lists every layer' <<<'int a;'
refuses include/dsv4/unheard_of.h 1 'cmake/check_layers.cmake lists every layer' <<<'int a;'
refuses include/dsv4/tensor.h 1 'tensor uses only' <<<'#include "dsv4/graph.h"'
refuses include/dsv4/graph.h 1 'a public header includes only' <<<'#include "base/arena.h"'

# ---- means
refuses src/ops/a.c 1 'intrinsics belong' <<<'#include <immintrin.h>'
refuses src/kernels/table.c 1 'intrinsics belong' <<<'#include <x86intrin.h>'
refuses src/rt/clock.c 1 'intrinsics belong' <<<'#include <x86intrin.h>'
refuses src/ops/a.c 1 'threads belong' <<<'#include <pthread.h>'
refuses src/kernels/a.c 1 'threads belong' <<<'#include <threads.h>'
refuses src/rt/a.c 1 'only src/cli measures' <<<'#include <omp.h>'
refuses src/rt/a.c 1 'only src/cli prints' <<<'int n = printf("%d", 1);'
refuses src/base/a.c 1 'only src/cli prints' <<<'fputs("x", stdout);'
refuses src/base/a.c 1 'only src/cli and src/base/progress.c' <<<'fprintf(stderr, "x");'
refuses src/base/progress.c 1 'only src/cli prints' <<<'puts("x");'
refuses src/golden/a.c 4 'a library returns' <<'END'
/* Two lines
 * of comment. */
char quote = '"', text[] = "a ; [ \" b";
abort();
END
refuses src/model/a.c 1 'a library returns' <<<'/* fails */ exit (1); // never'

# ---- what may look like a violation
accepts src/ops/a.c <<'END'
/* exit(1) and printf("x") end
 * here: abort (or commit); #include "golden/golden.h"
#include "sim/sim.h"
*/
#include "kernels/kernels.h" /* not "golden/golden.h" */
#include "rt/graph.h"
#include "tensor/tensor.h"
// #include <pthread.h>
static const char *text = "exit(1) /* \" stdout";
int my_printf(int), on_exit_(int), n[3]; /* left open
exit(2); */
int f(void) { return snprintf(0, 0, "%s", text) + my_printf(1); }
END
accepts src/kernels/avx512/a.c <<<$'#include <immintrin.h>\n#include "kernels/avx512/tile.h"'
accepts src/kernels/features.c <<<'#include <cpuid.h>'
accepts src/rt/ticks.h <<<'#include <x86intrin.h>'
accepts src/rt/a.c <<<'#include <pthread.h>'
accepts src/base/progress.c <<<'fprintf(stderr, "x");'
accepts src/base/file.c <<<'w->stream = stdout;'
accepts src/cli/a.c <<<$'#include "golden/golden.h"\n#include <omp.h>\nint main(void) { printf("x"); fputs("y", stderr); exit(1); }'
accepts include/dsv4/ops.h <<<'#include "dsv4/graph.h"'

printf '%d passed, %d failed\n' $n_passed $n_failed
[ $n_failed -eq 0 ]
