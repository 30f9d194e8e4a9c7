#!/usr/bin/env bash
# usage: test_trace_page.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# The page of a trace in a browser: its script runs, and what it says about a block is what the trace file says.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

browser=$(command -v chromium || command -v chromium-browser || true)
if [ -z "$browser" ]; then
    echo 'SKIPPED: chromium is not installed (Debian package chromium)'
    exit 77
fi
export HOME=$work

browse() { # address, argument...
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update \
        --disable-sync --no-first-run --hide-scrollbars --user-data-dir="$work/profile" --window-size=1400,900 \
        --virtual-time-budget=5000 "${@:2}" "$1" 2>browser.err
}

# What the page wrote about itself.
tested() { # key...
    "$json_get" selftest.json "$@"
}

# From the tables of the trace file: a row a line, [1,2,...].
table() { # section, name
    awk -v begin="\"$2\":[" 'index($0, begin) { on = 1; next } on && !/^\[/ { exit } on { gsub(/[][]|,$/, ""); print; if (/\]$/) exit }' \
        trace.json
}

accepts run qkv_proj_rope --preset tiny --threads 2 --trace trace.json
accepts trace trace.json --html page.html
prints '^  wrote page\.html$'
holds 'the page asks for nothing' fails grep -qE 'https?://|src=|@import|fetch\(' page.html

browse "file://$work/page.html#selftest" --dump-dom >page.dom
sed -nE 's/.*<pre id="selftest" hidden="">(.*)<\/pre>.*/\1/p' page.dom | sed 's/&lt;/</g; s/&gt;/>/g; s/&amp;/\&/g' >selftest.json
holds 'the script ran to its end' [ -s selftest.json ]
n_blocks=$(grep -c '"ph":"X"' trace.json)
holds "the page knows $n_blocks blocks" [ "$(tested events)" = "$n_blocks" ]
holds 'it shows their number' grep -q "<dd id=\"blocks\">$n_blocks</dd>" page.dom
holds 'a key zooms' awk -v x="$(tested zoomed)" 'BEGIN { exit !(x > 0.59 && x < 0.61) }'
holds 'a frame takes less than 200 ms' awk -v x="$(tested frame_ms)" 'BEGIN { exit !(x < 200) }'

# ---- the longest block, over which it held the pointer
task=$(tested task)
table run events >events
holds 'it is the longest one' awk -F, -v task="$task" -v ns="$(tested ns)" '
    { length_ns = ($7 - $6) * 1e9; if (length_ns > most) most = length_ns; if ($1 == task) its = length_ns }
    END { exit !(its >= most - 2 && its - ns < 2 && ns - its < 2) }' events
table graph views >views
table graph tasks >tasks
table graph touches >touches
bytes=$(awk -F, -v task="$task" '
    FILENAME == "views" { elem_bytes[n_views++] = $(NF - 1) }
    FILENAME == "tasks" { if (n_tasks == task) { begin = n; end = n + $6; sum = $10 } n += $6; n_tasks++ }
    FILENAME == "touches" {
        if (n_touches >= begin && n_touches < end && $2 < 4)
            sum += ($4 - $3) * ($6 - $5) * elem_bytes[$1] * ($2 == 3 ? 2 : 1)
        n_touches++
    }
    END { printf "%.0f", sum }' views tasks touches)
holds "it declares $bytes bytes" [ "$(tested bytes)" = "$bytes" ]
row=$(sed -n "$((task + 1))p" tasks)
stage=$("$json_get" trace.json dsv4 graph stages "${row%%,*}" 0)
tested tip >tip
holds "the tip names the stage $stage" grep -qF "$stage" tip
holds 'the stage is found by its name' [ "$(tested found 0)" = "$stage" ]
holds 'the tip says GB/s' awk -v bytes="$bytes" -v ns="$(tested ns)" '
    /GB\/s/ { sub(/.*declared[[:space:]]*/, ""); said = $1 + 0 }
    END { exit !(said > 0.98 * bytes / ns - 0.01 && said < 1.02 * bytes / ns + 0.01) }' tip
holds 'the tip says what it waited for' grep -qE 'waited.*(pick-up|steal|kept|no core)' tip
holds 'the tip names a box' grep -qE '^(reads|writes|updates)' tip
holds 'a critical path' [ "$(tested path)" -ge 2 ]

# ---- a picture of it
browse "file://$work/page.html" --screenshot="$work/page.png" >/dev/null
holds 'a screenshot with something on it' [ "$(wc -c <page.png)" -gt 15000 ]

finish
