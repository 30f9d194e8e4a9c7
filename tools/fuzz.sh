#!/usr/bin/env bash
# usage: tools/fuzz.sh SECONDS
# Runs every target fuzz_<thing> of build/fuzz for SECONDS each, from the seeds of tests/fuzz/corpus/<thing>/ and, where there is
# one, the dictionary tests/fuzz/<thing>.dict.
# What it learns stays in build/fuzz/corpus/, an input that fails in build/fuzz/failures/.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: tools/fuzz.sh SECONDS}
found=0
while IFS= read -r program; do
    found=1
    target=$(basename "$program")
    thing=${target#fuzz_}
    learned=build/fuzz/corpus/$thing
    mkdir -p "$learned" build/fuzz/failures
    options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="build/fuzz/failures/$target-")
    dictionary=tests/fuzz/$thing.dict
    [ ! -f "$dictionary" ] || options+=(-dict="$dictionary")
    seeds=tests/fuzz/corpus/$thing
    [ -d "$seeds" ] || {
        echo "tools/fuzz.sh: no seeds in $seeds" >&2
        exit 1
    }
    echo "$target: $seconds s from $(find "$seeds" -type f | wc -l) seeds"
    "$program" "${options[@]}" "$learned" "$seeds" </dev/null >"build/fuzz/$target.log" 2>&1 || {
        tail -n 60 "build/fuzz/$target.log"
        exit 1
    }
    grep -E '^stat::(number_of_executed_units|peak_rss_mb)' "build/fuzz/$target.log"
done < <(find build/fuzz -type f -name 'fuzz_*' -executable | sort)
[ $found -eq 1 ] || {
    echo "tools/fuzz.sh: no fuzz target in build/fuzz" >&2
    exit 1
}
