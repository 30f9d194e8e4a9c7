#!/usr/bin/env bash
# usage: test_trace_report.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 trace report`: a run from the program itself, one written by hand, and files that are none.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

# ---- a run of the program
accepts run qkv_proj_rope --preset tiny --threads 2 --trace t.json
prints '^  trace t\.json '
accepts trace report t.json --json r.json
prints '^qkv_proj_rope on .*: makespan [0-9.]+ ms, busy share [0-9.]+ %; workers 2, blocks [0-9]+, edges [0-9]+$'
prints '^worker 1 '
prints '^qkv\.q_proj +[1-9]'
prints '^  pick-up '
prints '^  makespan .* 100\.0 % .* 100\.0 %$'
prints '^  not known: dsv4 run OP --trace FILE --ceilings '
prints '^  running '
prints_nothing_like '^ +start ms'
has_json r.json qkv_proj_rope graph
has_json r.json false simulated
has_json r.json null machine_bound_s
accepts trace report t.json --path --top 1
prints '^ +start ms '
prints '^ +[0-9.]+ +[0-9.]+ +(-|no ready work|pick-up|steal) +[0-9.]+ +worker [01] +qkv\.'
prints '^and [0-9]+ stages more with '
accepts trace report t.json --json -
has_json out 'worker 1' workers 1 name

# ---- ceilings
accepts run rmsnorm --preset tiny --threads 1 --trace c.json --ceilings
prints '^  ceilings: read [0-9.]+ GB/s, '
accepts trace report c.json --json c.report.json
prints '^  inputs and outputs, memory +[0-9.]+ ms'
holds 'the bound is known' fails [ "$("$json_get" c.report.json machine_bound_s)" = null ]

# ---- what is no trace, or nothing to report on
refuses 'expected' trace
refuses 'nothing\.json' trace report nothing.json
refuses 'expected one' trace report
refuses 'expected one' trace report t.json t.json
refuses 'unknown' trace report t.json --no-such-option
refuses 'expected a whole number' trace report t.json --top 0
head -c 2000 t.json >cut.json
refuses 'cut\.json: ' trace report cut.json
sed 's/"level":[0-9]/"level":0/' t.json >no_run.json
refuses 'no_run\.json: ' trace report no_run.json
echo '{"traceEvents":[]}' >foreign.json
refuses 'foreign\.json: ' trace report foreign.json
finish
