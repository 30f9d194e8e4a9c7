#!/usr/bin/env bash
# usage: tools/fuzz.sh SECONDS
# Runs every target fuzz_<thing> of build/fuzz for SECONDS each, as many at a time as there are processors, from the seeds of
# tests/fuzz/corpus/<thing>/ and, where there is one, the dictionary tests/fuzz/<thing>.dict.
# What it learns stays in build/fuzz/corpus/, an input that fails in build/fuzz/failures/.
set -euo pipefail
cd "$(dirname "$0")/.."

export seconds=${1:?usage: tools/fuzz.sh SECONDS}

fuzz() { # program
    local target thing seeds dictionary log
    target=$(basename "$1")
    thing=${target#fuzz_}
    seeds=tests/fuzz/corpus/$thing
    dictionary=tests/fuzz/$thing.dict
    log=build/fuzz/$target.log
    [ -d "$seeds" ] || {
        echo "tools/fuzz.sh: no seeds in $seeds" >&2
        return 1
    }
    mkdir -p "build/fuzz/corpus/$thing" build/fuzz/failures
    local options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="build/fuzz/failures/$target-")
    [ ! -f "$dictionary" ] || options+=(-dict="$dictionary")
    "$1" "${options[@]}" "build/fuzz/corpus/$thing" "$seeds" </dev/null >"$log" 2>&1 || {
        tail -n 60 "$log"
        return 1
    }
    echo "$target: $seconds s from $(find "$seeds" -type f | wc -l) seeds;" \
        "$(awk '/^stat::(number_of_executed_units|peak_rss_mb)/ { printf "%s %s ", $1, $2 }' "$log")"
}
export -f fuzz

programs=$(find build/fuzz -type f -name 'fuzz_*' -executable | sort)
[ -n "$programs" ] || {
    echo "tools/fuzz.sh: no fuzz target in build/fuzz" >&2
    exit 1
}
xargs -P "$(nproc)" -I PROGRAM bash -euo pipefail -c 'fuzz PROGRAM' <<<"$programs"
