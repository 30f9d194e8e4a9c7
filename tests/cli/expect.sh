# shellcheck shell=bash disable=SC2034
# Read by the tests of the program, which are all called with: PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# Runs the program and looks at its exit code, stdout and stderr; counts what held and what did not.
set -euo pipefail
export LC_ALL=C
export DSV4_TILES= # not those of whoever runs the tests

# Says that a part of a test is left out where a sanitizer slows the program, and that it is: leaves_out WHAT && ...
leaves_out() { # what
    [ -n "${SANITIZED:-}" ] && echo "skipped under sanitizers: $1"
}

program=$(realpath "$1")
make_bad_files=$(realpath "$2")
json_get=$(realpath "$3")
change_file=$(realpath "$4")
vectors=$(realpath "$5")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
n_held=0
n_failed=0
command='' status=0

run() { # argument...
    command="dsv4 $*"
    status=0
    "$program" "$@" >out 2>err || status=$?
}

holds() { # what, command...
    if "${@:2}"; then
        n_held=$((n_held + 1))
    else
        n_failed=$((n_failed + 1))
        printf 'FAIL %s\n  %s\n  exit %s, stdout:\n%s\n  stderr:\n%s\n' "$1" "$command" "$status" \
            "$(head -c 2000 out)" "$(head -c 4000 err)"
    fi
}

fails() { # command...
    ! "$@"
}

exits() { # code
    holds "exits with $1" [ "$status" = "$1" ]
    [ "$status" = 2 ] || [ "$status" = 130 ] || holds 'stderr is empty' [ ! -s err ]
}

prints() { # pattern
    holds "stdout has: $1" grep -qE -- "$1" out
}

prints_nothing_like() { # pattern
    holds "stdout has no: $1" fails grep -qE -- "$1" out
}

# One line for people, without control characters.
complains() { # pattern
    holds 'stderr is one line' [ "$(wc -l <err)" = 1 ]
    holds "stderr has: $1" grep -qE -- "^dsv4: .*$1" err
    holds 'the line is clean' fails grep -q '[[:cntrl:]]' err
}

accepts() { # argument...
    run "$@"
    exits 0
}

# A usage error, or an input that cannot be run: nothing on stdout.
refuses() { # pattern, argument...
    run "${@:2}"
    exits 2
    complains "$1"
    holds 'stdout is empty' [ ! -s out ]
}

has_json() { # file, expected, key...
    holds "$1: ${*:3} is $2" [ "$("$json_get" "$1" "${@:3}" 2>&1)" = "$2" ]
}

finish() {
    printf '%d held, %d failed\n' $n_held $n_failed
    [ $n_failed -eq 0 ]
}
