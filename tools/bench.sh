#!/usr/bin/env bash
# usage: tools/bench.sh PROGRAM [OPTION...]
# Runs the suites that have rows of results, and writes one CSV file for this machine, and its roofline, into bench/results/.
# Options go to every suite.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1
shift
suites=(kernels ops layer)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for suite in "${suites[@]}"; do
    "$program" bench "$suite" --csv "$work/$suite.csv" --plot "$work/$suite.svg" "$@"
done

# "AMD EPYC 9654 96-Core Processor" with 96 cores: amd-epyc-9654-96-core-processor-96
machine=$(sed -n 's/^# cpu: //p; s/^# cores: /-/p' "$work/kernels.csv" | tr -d '\n' | tr '[:upper:]' '[:lower:]' |
    sed 's/([a-z]*)//g' | tr -cs '[:alnum:]' '-')
results=bench/results/${machine%-}
mkdir -p bench/results
{
    sed -n '1,/^suite,/p' "$work/${suites[0]}.csv"
    for suite in "${suites[@]}"; do
        sed '1,/^suite,/d' "$work/$suite.csv"
    done
} >"$results.csv"
cp "$work/kernels.svg" "$results.svg"
echo "wrote $results.csv and $results.svg; tools/bench_table.sh puts them into README.md"
