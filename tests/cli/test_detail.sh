#!/usr/bin/env bash
# usage: test_detail.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 run --level, --pmu, --csv`: what each level prints and writes, what recording costs, and what is refused.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

run_tiny() { # argument...
    accepts run qkv_proj_rope --preset tiny --threads 2 "$@"
}
blocks() { "$json_get" results.json blocks; }
costs() { # level
    prints "^  tracing at level $1 costs -?[0-9]+\.[0-9] % \(median of [0-9]+ pairs with untraced replays, 80 % of them between"
}
sum_of_column() { # file, name
    awk -F, -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) c = i } NR > 1 { s += $c } END { printf "%.0f\n", s }' "$1"
}
sum_of_stages() { # key...: of the stages in results.json
    local i=0 sum=0 value
    while value=$("$json_get" results.json stages $i "$1" 2>/dev/null); do
        sum=$((sum + value))
        i=$((i + 1))
    done
    echo $sum
}

# ---- nothing asked for
run_tiny --json results.json
prints_nothing_like 'tracing at level|blocks found|counters'
has_json results.json 'results.json: no such value' tracing

# ---- levels
run_tiny --level 1 --json results.json --csv one.csv
costs 1
prints '^  blocks found: [0-9]+ kept .*, [0-9]+ in its own ready set, [0-9]+ in another'
prints_nothing_like '^  (waits|counters)'
has_json results.json 1 tracing level
holds 'it says how many pairs' [ "$("$json_get" results.json tracing pairs)" -ge 5 ]
holds 'each block was found somewhere' \
    [ $(($("$json_get" results.json found kept) + $("$json_get" results.json found own) + $("$json_get" results.json found stolen))) = "$(blocks)" ]
holds 'a line per block' [ "$(wc -l <one.csv)" = $(($(blocks) + 1)) ]
holds 'no counters at level 1' [ "$(head -1 one.csv)" = 'stage,block,worker,start_us,duration_us' ]

run_tiny --level 2 --json results.json --csv two.csv
costs 2
prints '^  counters +blocks +tsc .*read_bytes written_bytes'
prints_nothing_like '^  waits'
has_json results.json software counters group
holds 'a line per block' [ "$(wc -l <two.csv)" = $(($(blocks) + 1)) ]
for name in read_bytes written_bytes; do
    holds "$name of blocks and of stages are the same" [ "$(sum_of_column two.csv $name)" = "$(sum_of_stages $name)" ]
    holds "$name are some" [ "$(sum_of_column two.csv $name)" -gt 0 ]
done
holds 'time passes in blocks' [ "$(sum_of_column two.csv tsc)" -gt 0 ]

run_tiny --level 3 --json results.json --trace three.json --csv three.csv
costs 3
prints '^  waits: [0-9]+; '
holds 'the trace is JSON with level 3' [ "$("$json_get" three.json dsv4 run level)" = 3 ]
run_tiny --trace plain.json
costs 1
holds 'the trace is of level 1' [ "$("$json_get" plain.json dsv4 run level)" = 1 ]

# ---- counters
run_tiny --pmu software --json results.json
costs 2
has_json results.json 2 tracing level
accepts run --pmu list --json list.json
for group in cycles cache memory stalls software; do
    prints "^$group: "
done
prints '^  page_faults +(yes|no: )'
has_json list.json cycles groups 0 name
for group in 0 1 2 3; do
    name=$("$json_get" list.json groups $group name)
    if "$json_get" list.json groups $group events | grep -q '"available":true'; then
        run_tiny --pmu "$name" --csv "$name.csv"
        costs 2
        prints "^  counters +blocks .*$("$json_get" list.json groups $group events | grep -oE '"name":"[a-z0-9_]+","available":true' | head -1 | cut -d'"' -f4)"
    else
        printf 'skipped: this machine has no counters of the group %s\n' "$name"
        refuses "counters $name: no [a-z0-9_]+ on this machine: .*; the group software counts everywhere" \
            run rmsnorm --preset tiny --pmu "$name"
    fi
done

# ---- refusals
refuses 'counters: got "nonsense", expected one of cycles, cache, memory, stalls, software' run rmsnorm --preset tiny --pmu nonsense
refuses 'counters: got "", expected one of' run rmsnorm --preset tiny --pmu ''
refuses '--pmu: counters need level 2 or 3, got --level 1' run rmsnorm --preset tiny --pmu software --level 1
for level in 0 4 -1 x ''; do
    refuses "--level: got \"$level\", expected a whole number from 1 to 3" run rmsnorm --preset tiny --level "$level"
done
refuses '--csv: got "-", expected a file' run rmsnorm --preset tiny --csv -
run run rmsnorm --preset tiny --csv absent/x.csv
exits 2
complains 'absent/x\.csv: cannot write'

finish
