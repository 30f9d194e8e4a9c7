#!/usr/bin/env bash
# usage: test_results.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# Results for machines (--json, --trace), and what happens when results cannot be written.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
"$make_bad_files" .

# ---- JSON on stdout is alone there
DSV4_ISA=scalar accepts run qkv_proj_rope --preset tiny --json - # packed activations are of 2 or of 4 bytes
has_json out qkv_proj_rope op
has_json out tiny config
has_json out decode mode
has_json out correct compat
has_json out group act_scale
has_json out null start_pos
has_json out qkv.qr_proj stages 1 name
has_json out 81920 stages 1 read_bytes # 4 blocks: 8 rows of 256 each, and together a matrix of 256 by 128, BF16
has_json out true pass
has_json out kv outputs 1 name
has_json out true outputs 1 pass
has_json out 1024 outputs 1 n # 8 rows of 128
has_json out 5 outputs 1 allowed
accepts run rmsnorm --preset tiny --bench 2 --json -
has_json out true pass
accepts list --json -
has_json out rope_tables 0 name
has_json out out 0 tensors 3 direction
accepts list rmsnorm --json -
has_json out T,D tensors 0 shape
has_json out t_tile tiles 0 name
has_json out any tiles 0 allowed
has_json out 'at most ceil(D/512)' tiles 1 allowed
has_json out null tensors 0 tolerance
has_json out '|a-e| <= 0.0001 + 0.0078125*|e|, up to 0.5 % bad' tensors 2 tolerance
accepts list --json - --help
prints '^usage: '

# ---- JSON in a file, text on stdout
accepts run rmsnorm --preset tiny --json results.json --threads 1
prints '^  PASS x_normed '
has_json results.json 1 workers
has_json results.json true pass
has_json results.json 2 longest_path
accepts list --json list.json
prints '^rmsnorm +any +any +RMS normalisation of rows$'
has_json list.json qkv_proj_rope 2 name
has_json list.json null 2 family
has_json list.json any 2 mode

# ---- verdicts and errors of several files
cp good.safetensors $'caf\xe9.safetensors'
run check good.safetensors truncated.safetensors differs.safetensors $'caf\xe9.safetensors' --json -
exits 2
complains 'truncated\.safetensors'
has_json out 2 exit
has_json out good.safetensors files 0 file
has_json out 0 files 0 exit
has_json out rmsnorm files 0 op
has_json out null files 0 error
has_json out true files 0 outputs 0 pass
has_json out 2 files 1 exit
has_json out '[]' files 1 outputs
holds 'the error is in the JSON' grep -q 'truncated.safetensors: tensor .* not within the 79 data bytes' out
has_json out 1 files 2 exit
has_json out 1 files 2 outputs 0 bad
has_json out 11 files 2 outputs 0 worst_index
has_json out 'caf?.safetensors' files 3 file
run check infinite.safetensors --json -
exits 1
has_json out null files 0 outputs 0 worst

# ---- traces
accepts run qkv_proj_rope --preset tiny --threads 2 --trace trace.json
prints '^  trace trace\.json '
has_json trace.json M traceEvents 0 ph
for stage in qr_proj kv_head; do
    holds "the trace has $stage" grep -q "\"name\":\"[a-z_]*\.$stage\"" trace.json
done
n_blocks=$(sed -nE 's/.*, blocks ([0-9]+), edges.*/\1/p' out)
holds 'a slice for each block' [ "$(grep -c '"ph":"X"' trace.json)" = "$n_blocks" ]
run run rmsnorm --preset tiny --trace absent/trace.json
exits 2
complains 'absent/trace\.json: cannot write'
prints_nothing_like 'trace absent'

# The member for our own tools has an event for each block.
has_json trace.json 1 dsv4 version
has_json trace.json block dsv4 graph deps
has_json trace.json 'worker 1' dsv4 run workers 1 0
holds 'an event for each block' [ "$("$json_get" trace.json dsv4 run events | grep -o '\[[0-9]' | wc -l)" = "$n_blocks" ]

# ---- graphs
accepts run qkv_proj_rope --preset tiny --threads 2 --deps stage --deps-json deps.json
prints '^  graph deps\.json '
prints_nothing_like '^  trace '
has_json deps.json stage deps
n_edges=$(sed -nE 's/.*, edges ([0-9]+),.*/\1/p' out)
holds 'every edge has its source' [ "$(grep -cE '"source":"(raw|waw|war|declared|coarse)"' deps.json)" = "$n_edges" ]
run run rmsnorm --preset tiny --deps-json absent/deps.json
exits 2
complains 'absent/deps\.json: cannot write'
prints_nothing_like 'graph absent'

# ---- what cannot be written is no success
unwritable() { # pattern, redirection, argument...
    command="dsv4 ${*:3} $2"
    status=0
    eval '"$program" "${@:3}" 2>err '"$2" || status=$?
    : >out
    exits 2
    complains "$1"
}
for arguments in '--help' 'list' 'run --help' 'run rmsnorm --preset tiny' 'check good.safetensors' 'list --json -' \
    'run rmsnorm --preset tiny --json -' 'check good.safetensors --json -'; do
    # shellcheck disable=SC2086
    unwritable 'cannot write' '>/dev/full' $arguments
    # shellcheck disable=SC2086
    unwritable 'cannot write' '>&-' $arguments
done
unwritable 'cannot write' '>/dev/full' check differs.safetensors
unwritable 'truncated' '>/dev/full' check truncated.safetensors
unwritable 'results\.json: cannot write' '>/dev/null' check good.safetensors --json absent/results.json
unwritable '/dev/full: cannot write' '>/dev/null' check good.safetensors --json /dev/full

# A file opened while stdout is closed must not receive what is printed.
unwritable 'stdout: cannot write' '>&-' run rmsnorm --preset tiny --save closed.safetensors --trace closed.json
has_json closed.json M traceEvents 0 ph
accepts check closed.safetensors
status=0
"$program" run rmsnorm --preset tiny --save closed.safetensors >out 2>&- <&- || status=$?
holds 'runs without stdin and stderr' [ $status = 0 ]
accepts check closed.safetensors

finish
