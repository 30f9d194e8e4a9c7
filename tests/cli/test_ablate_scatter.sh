#!/usr/bin/env bash
# usage: test_ablate_scatter.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `ablate scatter`: all variants agree with the reference, at the start positions of the authors too; the scan is more work. With 16
# tokens there are 4 windows of 2 blocks each. The first window has no window before it: 4 entries, the others 8.
#   tokens scanned  before 8 blocks * 16; after none
#   loads           before 8 * 4 lists + 2 blocks * (4 + 3 * 8) entries * (2 of the state + 3 of a token) = 312
#                   after  8 * 3 lists + 2 blocks * (4 + 3 * 8) entries * 2 = 136
#   state           16 tokens * 2 blocks: 6 before, 5 after
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

accepts ablate scatter --preset tiny --rounds 1 --threads 2 --device "$(dirname "$vectors")/../devices/a2a3.json" --json scatter.json
for variant in before tracked after before-launch after-launch; do
    prints "PASS $variant +8 launches +48 blocks"
done
figure() { # index, value, name
    has_json scatter.json "$3" studies 0 figures "$1" name
    has_json scatter.json "$2" studies 0 figures "$1" value
}
figure 0 128.0 'pool: tokens scanned, before'
figure 1 0.0 'pool: tokens scanned, after'
figure 2 312.0 'pool: rows and lists loaded, before'
figure 3 136.0 'pool: rows and lists loaded, after'
figure 6 504.0 'pool and state: rows and lists, before'
figure 7 296.0 'pool and state: rows and lists, after'
figure 10 10.0 'start positions like the reference'
# The simulated time in blocks of the pool, and of pool and state rows, falls.
for series in 1 2; do
    has_json scatter.json after studies 0 series $series rows $((series == 1 ? 1 : 2)) variant
    holds "series $series falls" awk -v r="$("$json_get" scatter.json studies 0 series $series rows $((series == 1 ? 1 : 2)) \
        device_ratio)" 'BEGIN { exit !(r > 0 && r < 0.9) }'
done
finish
