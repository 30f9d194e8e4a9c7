#!/usr/bin/env bash
# usage: test_tune.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 tune`: what it would measure, the table that it writes, and what `dsv4 run` makes of a table.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

# ---- usage
refuses 'got 0 operators' tune
refuses 'got "nonsense", expected one of' tune nonsense
refuses 'tile "nonsense" is unknown, expected some of t_tile, n_tile' tune qkv_proj_rope --tiles n_tile,nonsense --table t.json
refuses 'ends in \.svg or \.html' tune rmsnorm --heatmap map.png
refuses 'no place for the table' tune rmsnorm --preset tiny
refuses 'expected default or table' run rmsnorm --tiles best

# ---- what would be measured
accepts tune qkv_proj_rope --preset tiny --dry-run --table t.json --json plan.json
prints '^  n_tile +32\* 64'
prints '^  head_group +1\* 2 4'
has_json plan.json n_tile axes 1 tile
has_json plan.json 0 measured
holds 'a dry run writes no table' [ ! -e t.json ]
accepts tune qkv_proj_rope --preset tiny --dry-run --table t.json --tiles n_tile,head_group
prints_nothing_like 't_tile'

# ---- a table and a map
accepts tune qkv_proj_rope --preset tiny --threads 2 --budget 2 --rounds 5 --table t.json --heatmap map.svg --json tuned.json
prints '^  PASS q '
prints '^  PASS qr_scale '
prints '^  > .* ms +[0-9.]+ \+- '
prints '^  table t\.json, '
prints_nothing_like 'FAIL|SKIP'
holds 'the map is an SVG' grep -q '^<svg' map.svg
holds 'the chosen or the default cell is marked' grep -q 'stroke="#c2410c"' map.svg
has_json t.json 'dsv4 tiles' format
cpu=$("$json_get" tuned.json cpu)
has_json t.json qkv_proj_rope cpus "$cpu" 0 op
has_json t.json decode cpus "$cpu" 0 mode
has_json t.json 8 cpus "$cpu" 0 tokens
has_json t.json 2 cpus "$cpu" 0 threads
accepts tune qkv_proj_rope --preset tiny --budget 1 --rounds 5 --tiles n_tile,t_tile --table t.json --heatmap map.html
holds 'the map is a page' grep -q '^<!DOCTYPE html>' map.html

# ---- an entry for the same calls, with tiles that differ from the defaults
isa=$("$json_get" t.json cpus "$cpu" 0 isa)
dims=$("$json_get" t.json cpus "$cpu" 0 dims)
write_table() { # file, tiles
    cat >"$1" <<END
{"format": "dsv4 tiles", "version": 1, "cpus": {
 "another processor": [{"op": "qkv_proj_rope", "dims": "$dims", "mode": "decode", "tokens": 8, "threads": 2, "isa": "$isa",
                        "tiles": {"n_tile": 128}, "default_s": 1, "chosen_s": 0.5, "commit": "0"}],
 "$cpu": [{"op": "qkv_proj_rope", "dims": "$dims", "mode": "decode", "tokens": 8, "threads": 2, "isa": "$isa",
           "tiles": {$2}, "default_s": 1, "chosen_s": 0.5, "commit": "0"}]}}
END
}
own=(run qkv_proj_rope --preset tiny --threads 2)
write_table own.json '"n_tile": 64, "head_group": 2'
accepts "${own[@]}" --save reference.safetensors
prints_nothing_like '^  tiles '
export DSV4_TILES=own.json
accepts "${own[@]}" --save tuned.safetensors --json run.json
prints '^  tiles n_tile=64 head_group=2 from own\.json for '
prints '^  PASS q '
prints_nothing_like 'FAIL|SKIP'
holds 'json has the tiles' grep -q '"tiles": "n_tile=64 head_group=2 from own.json' run.json
holds 'the saved bytes are the same' cmp -s reference.safetensors tuned.safetensors
accepts check reference.safetensors --threads 2
for other in '--tiles default' '--set n_tile=32' '--threads 1' '--batch 2' '--batch 8' '--mode prefill --seq 8'; do
    # shellcheck disable=SC2086
    accepts run qkv_proj_rope --preset tiny --threads 2 $other
    prints_nothing_like '^  tiles '
done
accepts "${own[@]}" --batch 5 # 10 tokens, from 8 up to 15
prints '^  tiles n_tile=64 '
accepts run rmsnorm --preset tiny --threads 2
prints_nothing_like '^  tiles '

lacks() { # file, key...
    ! "$json_get" "$@" 2>/dev/null
}

# ---- writing keeps what is there
accepts tune rmsnorm --preset tiny --budget 1 --rounds 5
prints '^  table own\.json, '
has_json own.json 128 cpus 'another processor' 0 tiles n_tile
has_json own.json 64 cpus "$cpu" 0 tiles n_tile
has_json own.json rmsnorm cpus "$cpu" 1 op
accepts tune qkv_proj_rope --preset tiny --threads 2 --budget 1 --rounds 5 --tiles norm_t_tile
has_json own.json rmsnorm cpus "$cpu" 1 op
holds 'its own entry is replaced' lacks own.json cpus "$cpu" 0 tiles n_tile
holds 'no entry is added' lacks own.json cpus "$cpu" 2

# ---- tables that are refused
write_table own.json '"n_tile": 48'
refuses 'own\.json: entry of ".*": qkv_proj_rope: n_tile=48, rule' "${own[@]}"
accepts "${own[@]}" --tiles default
write_table own.json '"nonsense": 1'
refuses 'own\.json: .*tile nonsense is unknown' "${own[@]}"
write_table own.json '"n_tile": 0'
refuses 'own\.json: tile table: entry 0 of ".*": member n_tile' "${own[@]}"
cp own.json before.json
refuses 'own\.json: tile table: ' tune rmsnorm --preset tiny --budget 1
holds 'a refused table stays as it was' cmp -s own.json before.json
head -c 100 before.json >own.json
refuses 'own\.json: tile table: no valid JSON' "${own[@]}"
echo '{"name": "tiny"}' >own.json
refuses 'own\.json: no tile table' "${own[@]}"
mkdir folder
DSV4_TILES=folder refuses 'folder: not a regular file' "${own[@]}"
DSV4_TILES=absent.json accepts "${own[@]}"

# ---- where the table is
unset DSV4_TILES
XDG_CONFIG_HOME=$work/config accepts tune rmsnorm --preset tiny --budget 1 --rounds 5
has_json config/dsv4/tiles.json rmsnorm cpus "$cpu" 0 op
unset XDG_CONFIG_HOME
HOME=$work/home accepts tune rmsnorm --preset tiny --budget 1 --rounds 5
has_json home/.config/dsv4/tiles.json rmsnorm cpus "$cpu" 0 op

finish
