#!/usr/bin/env bash
# usage: test_trace.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# dsv4 trace: what it tells of a recorded run, the files it writes, what it refuses.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

accepts run attention --preset tiny --threads 2 --trace run.json
n_blocks=$(grep -c '"ph":"X"' run.json)

# ---- the summary
accepts trace run.json --json summary.json
prints '^run\.json  decode_attention_csa$'
prints "^  graph   stages [0-9]+, blocks $n_blocks, edges [0-9]+, views [0-9]+$"
prints '^  run     makespan [0-9.]+ .?.s, busy [0-9.]+ %, mean parallelism [0-9.]+$'
prints '^  device  .+, 2 workers$'
prints '^to see it: dsv4 trace run\.json --html'
has_json summary.json decode_attention_csa graph
has_json summary.json "$n_blocks" blocks
has_json summary.json 2 workers
has_json summary.json false is_simulated

# ---- files
accepts trace run.json --html page.html --svg run.svg --png run.png --chrome again.json --deps-json deps.json
for file in page.html run.svg run.png again.json deps.json; do
    prints "^  wrote $file$"
done
prints_nothing_like 'to see it'
holds 'trace events, read and written again, are the same' cmp -s run.json again.json
has_json deps.json block deps
holds 'HTML' [ "$(head -c 15 page.html)" = '<!doctype html>' ]
holds 'SVG' grep -q '<svg .*width="1200' run.svg
holds 'PNG' [ "$(head -c 8 run.png | od -An -tx1 | tr -d ' ')" = 89504e470d0a1a0a ]
accepts trace run.json --svg part.svg --begin 0.01 --end 0.02 --width 800 --title 'A title'
holds 'SVG of another width' grep -q '<svg .*width="800' part.svg

# ---- what it refuses
refuses 'trace: got 0 files, expected one' trace
refuses 'trace: got 2 files, expected one' trace run.json run.json
refuses 'absent\.json: ' trace absent.json
refuses '--width: got "10", expected a whole number from 400 to 8000' trace run.json --png p.png --width 10
refuses '--begin: got "x", expected milliseconds' trace run.json --png p.png --begin x
refuses '--begin: got "nan", expected milliseconds' trace run.json --png p.png --begin nan
refuses '--end: got "-1", expected milliseconds' trace run.json --png p.png --end -1
refuses '--end: got 1 ms, expected more than --begin, 2 ms' trace run.json --png p.png --begin 2 --end 1
refuses '--width: is of pictures, expected --svg or --png' trace run.json --html p.html --width 500
refuses '--html: got "-", expected a file' trace run.json --html -
run trace run.json --svg late.svg --begin 1e9
exits 2
complains 'expected times within the run'
holds 'nothing is written' [ ! -e late.svg ]
run trace run.json --html absent/page.html
exits 2
complains 'absent/page\.html: cannot write'
printf '{"dsv4":{"version":1}}' >short.json
refuses 'short\.json: ' trace short.json --html short.html
holds 'nothing is written' [ ! -e short.html ]

# ---- nothing takes the place of what was read
cp one.trace.json kept.trace.json 2>/dev/null || accepts run rmsnorm --preset tiny --trace kept.trace.json
ln -sf kept.trace.json linked.json
refuses '--html: got kept.trace.json, which is the trace itself' trace kept.trace.json --html kept.trace.json
refuses '--svg: got linked.json, which is the trace itself' trace linked.json --svg ./kept.trace.json
refuses '--svg: got a.out, which is the file of --html too' trace kept.trace.json --html a.out --svg a.out
accepts trace kept.trace.json
finish
