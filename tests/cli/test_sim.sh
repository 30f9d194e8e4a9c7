#!/usr/bin/env bash
# usage: test_sim.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 sim`: operators and traces on described devices, what-ifs, and what it refuses.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

number() { # file, key...
    "$json_get" "$@"
}
less() { # a, b
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'
}
about() { # a, b
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > 0.999 * b && a < 1.001 * b) }'
}

# ---- every device of the source tree, by name
for device in a2a3 server-64c desktop-16c avx2-2c; do
    accepts sim qkv_proj_rope --preset tiny --device $device --json $device.json
    prints "^qkv_proj_rope on $device, simulated: [0-9]+ blocks"
    prints '^  makespan [0-9.]+ us, longest chain of blocks [0-9.]+ us; busy'
    prints '^  qkv\.q_proj '
    has_json $device.json $device device
    holds 'a chain takes time' less 0 "$(number $device.json path_s)"
    holds 'no run is shorter than its longest chain' fails less "$(number $device.json makespan_s)" "$(number $device.json path_s)"
done
accepts sim decode_attention_csa --preset tiny --device a2a3
prints '24 cube [0-9.]+ %, 48 vector'
accepts sim attention --preset tiny --mode prefill --compress-ratio 0 --device desktop-16c
prints '^prefill_attention_swa on desktop-16c'

# ---- traces: the same graph gives the same run
accepts sim qkv_proj_rope --preset tiny --device avx2-2c --trace one.trace.json --json one.json
prints 'trace one.trace.json'
accepts sim one.trace.json --device avx2-2c --trace two.trace.json --json two.json
holds 'the same trace' cmp -s one.trace.json two.trace.json
holds 'the same results' cmp -s one.json two.json
has_json one.trace.json avx2-2c dsv4 run device

# ---- what if
accepts sim one.trace.json --device avx2-2c --cores 1,2,4 --json cores.json
prints '^ +1 +[0-9.]+ +1\.00 +100\.0 %'
has_json cores.json 1 scaling 0 cores
has_json cores.json 2 scaling 1 cores
has_json cores.json 2 scaling 2 cores # the device has two
holds 'two cores are faster' less "$(number cores.json scaling 1 makespan_s)" "$(number cores.json scaling 0 makespan_s)"
accepts sim one.trace.json --device avx2-2c --set cores.core.count=4 --json four.json
holds 'four cores are faster' less "$(number four.json makespan_s)" "$(number one.json makespan_s)"
accepts sim one.trace.json --device avx2-2c --set cores.core.bf16.ops_s=30e9 --set cores.core.i8.ops_s=75e9 \
    --set cores.core.vector.ops_s=5e9 --set schedule.dispatch_s=300e-9 --set schedule.edge_s=20e-9 --set schedule.pickup_s=600e-9 \
    --set schedule.steal_s=200e-9 --set levels.L3.core_read_bytes_s=20e9 --set levels.L3.core_write_bytes_s=15e9 \
    --set levels.L3.latency_s=40e-9 --json slow.json
holds 'half of all speeds takes twice as long' about "$(number slow.json makespan_s)" \
    "$(awk -v a="$(number one.json makespan_s)" 'BEGIN { print 2 * a }')"
accepts sim qkv_proj_rope --preset tiny --device avx2-2c --set t_tile=4 --set overlap=0 --warm 0 --json tiles.json
accepts sim rmsnorm --preset tiny --device avx2-2c --deps stage --json -
holds 'stdout is JSON alone' less 0 "$(number out makespan_s)"
accepts sim rmsnorm --device a2a3 --set cores.vector.buffers.UB.bytes=4096 --json small.json
prints '^  does not fit: rmsnorm\.[a-z]+, [0-9]+ blocks, [0-9]+ bytes in buffer UB: [0-9]+ too many'
has_json small.json UB misfits 0 buffer

for lost in 0 1; do
    accepts sim one.trace.json --device avx2-2c --warm 0 --set levels.memory.read_bytes_s=2e9 --set overlap=1 \
        --set overlap_lost=$lost --json lost$lost.json
done
holds 'lost overlap takes time' less "$(number lost0.json makespan_s)" "$(number lost1.json makespan_s)"

# ---- tiles measured on this machine are not for another
printf '{' >tiles.json
DSV4_TILES=tiles.json accepts sim rmsnorm --preset tiny --device a2a3

# ---- a trace of many stages takes no more time for each; names that would change the terminal's colour
awk 'BEGIN {
    n = 40000
    printf "{\"dsv4\":{\"version\":1,\"graph\":{\"name\":\"\\u001b[31mred\",\"deps\":\"block\",\"views\":[],\"stages\":["
    for (i = 0; i < n; i++) printf "%s[\"\\u001b%d\",1,0,\"vector\"]", i ? "," : "", i
    printf "],\"tasks\":["
    for (i = 0; i < n; i++) printf "%s[%d,0,false,false,0,0,0,0,1,0,0,0,0,0,0]", i ? "," : "", i
    printf "],\"touches\":[],\"edges\":[]},\"run\":{\"device\":\"\",\"is_simulated\":false,\"level\":0,\"read_bytes_s\":0,"
    printf "\"ops_i8_s\":0,\"flops_bf16_s\":0,\"vector_ops_s\":0,\"workers\":[],\"counters\":[],\"events\":[],\"waits\":[]}}}"
}' >many.trace.json
begin=$SECONDS
accepts sim many.trace.json --device a2a3 --warm 0 --trace many.sim.json
prints '^\?\[31mred on a2a3, simulated: 40000 blocks'
holds 'text is clean' fails grep -q '[[:cntrl:]]' out
accepts sim many.trace.json --device server-64c --warm 0
holds 'takes seconds' [ $((SECONDS - begin)) -lt 40 ]
accepts trace report many.sim.json --top 3
prints '^\?\[31mred on a2a3 \(simulated\)'
holds 'text is clean' fails grep -q '[[:cntrl:]]' out

# ---- devices by file and folder
mkdir devices
cat >devices/mine.json <<'END'
{"name": "mine", "cores": [{"name": "c", "count": 1, "runs_cube": true, "runs_vector": true, "bf16": {"ops_s": 1e9},
 "i8": {"ops_s": 1e9}, "vector": {"ops_s": 1e9}}], "levels": [{"name": "memory", "is_shared": true, "read_bytes_s": 1e9,
 "write_bytes_s": 1e9, "line_bytes": 64}], "schedule": {"n_threads": 0, "dispatch_s": 0}, "overlap": 0}
END
accepts sim rmsnorm --preset tiny --device devices/mine.json
DSV4_DEVICES=devices accepts sim rmsnorm --preset tiny --device mine
prints '^rmsnorm on mine'

# ---- refused
refuses 'sim: got no --device' sim rmsnorm
refuses 'sim: got 0 operators or files' sim --device a2a3
refuses 'sim: got 2 operators or files' sim rmsnorm qkv_proj_rope --device a2a3
refuses 'device "mine" is unknown: no mine\.json' sim rmsnorm --device mine
refuses 'absent\.json: cannot open' sim rmsnorm --device absent.json
refuses 'expected one of' sim nothing --device a2a3
refuses 'absent\.trace\.json' sim absent.trace.json --device a2a3
refuses 'device avx2-2c: has no number "levels\.memory\.colour"' sim one.trace.json --device avx2-2c --set levels.memory.colour=1
refuses 'levels\.memory\.line_bytes: got 65, expected a power of two' sim one.trace.json --device avx2-2c \
    --set levels.memory.line_bytes=65
refuses 'nothing' sim rmsnorm --preset tiny --device avx2-2c --set nothing=1
for cores in '' 0 '1,' ,1 1,x 5000 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17; do
    refuses '--cores: got' sim one.trace.json --device avx2-2c --cores "$cores"
done
refuses 'got --trace and 2 numbers of cores' sim one.trace.json --device avx2-2c --cores 1,2 --trace t.json
refuses 'option --verify is unknown' sim rmsnorm --device avx2-2c --verify
for option in '--set n_tile=32' '--preset tiny' '--mode decode' '--compress-ratio 4' '--batch 1' '--seq 1' '--start-pos 0' \
    '--index-cache int8' '--seed 1' '--threads 1' '--deps stage' '--compat reference' '--act-scale row'; do
    # shellcheck disable=SC2086 # an option and its value
    refuses "$(set -- $option && echo "$1").*: is for operators, the graph of one\.trace\.json stays" \
        sim one.trace.json --device avx2-2c $option
done
printf '{"name": "mine", "cores": 7}' >bad.json
refuses 'bad\.json: ' sim rmsnorm --device bad.json
run sim one.trace.json --device avx2-2c --trace absent/t.json
exits 2
complains 'absent/t\.json: cannot write'
finish
