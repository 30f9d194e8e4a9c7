#!/usr/bin/env bash
# usage: test_forms.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# Operators with forms: which one a name, a mode and a compress ratio mean; calls at positions; state across runs, replays
# and files.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

chosen() { # operator that runs, argument...
    accepts run "${@:2}" --preset tiny
    prints "^$1 tiny "
    prints_nothing_like 'FAIL|SKIP'
}

# ---- names
chosen decode_indexer indexer
chosen prefill_indexer indexer --mode prefill
chosen decode_indexer decode_indexer
chosen prefill_indexer prefill_indexer
prints '^prefill_indexer tiny prefill'
chosen decode_compressor_ratio4 compressor
chosen decode_compressor_ratio128 compressor --compress-ratio 128
chosen prefill_compressor_ratio128 compressor --compress-ratio 128 --mode prefill
for mode in decode prefill; do
    chosen ${mode}_attention_swa attention --mode $mode --compress-ratio 0
    chosen ${mode}_attention_csa attention --mode $mode
    chosen ${mode}_attention_csa attention --mode $mode --compress-ratio 4
    chosen ${mode}_attention_hca attention --mode $mode --compress-ratio 128
done
refuses 'indexer: has no form for decode with compress ratio 128, expected one of decode_indexer, prefill_indexer' \
    run indexer --compress-ratio 128
refuses 'compressor: has no form for prefill with compress ratio 0, .*prefill_compressor_ratio128' \
    run compressor --mode prefill --compress-ratio 0
refuses 'decode_indexer: is a form for decode, got mode prefill' run decode_indexer --mode prefill
refuses 'decode_compressor_ratio4: is a form for compress ratio 4, got 128' run decode_compressor_ratio4 --compress-ratio 128
refuses 'got "nonsense", expected one of .*rmsnorm.*, or a form of .*compressor.*attention' run nonsense
refuses 'prefill_indexer: got --batch 2, expected 1: a prefill call is one request' run indexer --mode prefill --batch 2

# ---- listings
accepts list
prints '^rmsnorm +any +any +'
prints '^indexer$'
prints '^  decode_indexer +decode +4 +'
prints '^  prefill_attention_hca +prefill +128 +'
holds 'a line for each operator and family' [ "$(wc -l <out)" -le 45 ]
holds 'the listing fits 140 columns' [ "$(wc -L <out)" -le 140 ]
accepts list indexer
prints '^  prefill_indexer +prefill '
prints_nothing_like 'rmsnorm|  x '
accepts list indexer --json -
has_json out prefill_indexer 1 name
has_json out indexer 1 family
has_json out prefill 1 mode
has_json out 4 1 ratio
accepts list indexer --mode prefill
prints '^prefill_indexer - '
prints '^  idx_kv_cache +io +BF16\|I8 +\[IP,BS,1,ID\] '
prints '^  idx_kv_scale +io\? +F32 '
prints '^  score +\|a-e\| .*; the first num_tokens rows$'
prints '^  topk_idxs +scores descend and are those of e within .*; the first num_tokens rows$'
accepts list attention --compress-ratio 128
prints '^decode_attention_hca - '

# ---- calls at positions, other numerics, the quantised cache: each agrees with its reference, and its file with itself
agrees() { # operator, argument...
    accepts run "$@" --preset tiny --save saved.safetensors --bench 3
    prints_nothing_like 'FAIL|SKIP'
    accepts check saved.safetensors
    prints_nothing_like 'FAIL|SKIP'
}
agrees indexer --index-cache int8
agrees indexer --mode prefill --index-cache int8
agrees indexer --batch 9 --seq 1
agrees indexer --compat reference --seq 4
agrees attention --act-scale row
agrees attention --act-scale block --compat reference --index-cache int8
agrees attention --compress-ratio 128 --batch 3 --seq 3 --start-pos 125
agrees compressor --start-pos 200
for ratio in 0 4 128; do
    agrees sparse_attn --compress-ratio $ratio
    agrees sparse_attn --compress-ratio $ratio --mode prefill
done
accepts run compressor --preset tiny --start-pos 200 --seq 3 --json -
has_json out 203 max_position_embeddings
has_json out 200 start_pos
accepts run compressor --preset tiny --start-pos 200
prints '^  max_position_embeddings raised to 202, the end of the call$'
accepts run compressor --preset tiny --start-pos 20
prints_nothing_like 'raised'

# A file says how it was computed.
accepts run attention --preset tiny --compat reference --act-scale row --save said.safetensors
accepts check said.safetensors
prints ' decode_attention_csa, threads [0-9]+, act-scale row$'
accepts run attention --preset tiny --save said.safetensors
accepts check said.safetensors
prints ' decode_attention_csa, threads [0-9]+, compat correct$'
run check said.safetensors --act-scale row
holds 'other numerics are other numbers' grep -qE 'worst error|FAIL' out

# ---- state: what is saved is of the first run, from inputs as they were drawn
accepts run attention --preset tiny --save first.safetensors --threads 1
for way in '--threads 2' '--bench 4' '--verify' '--deps tensor' '--threads 3 --bench 7 --verify'; do
    # shellcheck disable=SC2086
    accepts run attention --preset tiny --save again.safetensors $way
    holds "the saved bytes are the same with $way" cmp -s again.safetensors first.safetensors
done
accepts run attention --inputs first.safetensors --save again.safetensors
holds 'inputs from a file give the same file' cmp -s again.safetensors first.safetensors

checksum() { # argument...
    accepts run attention --preset tiny "$@"
    sed -nE 's/.*checksum ([0-9a-f]{16})$/\1/p' out
}
expected=$(checksum --bench 1 --threads 1)
holds 'a checksum' [ ${#expected} = 16 ]
for way in '--bench 1' '--bench 8' '--bench 3 --threads 3'; do
    # shellcheck disable=SC2086
    holds "the checksum is the same with $way" [ "$(checksum $way)" = "$expected" ]
done

# ---- a refused step
"$change_file" first.safetensors refused.safetensors in.ori_block_table 1 -3
for way in '' --verify '--bench 2'; do
    # shellcheck disable=SC2086
    refuses 'refused\.safetensors: .*ori_block_table.*-3' run attention --inputs refused.safetensors $way
done

# ---- times by stage
accepts run attention --preset tiny --json times.json
prints '^  stage +blocks +total ms +mean us +share +GB/s +GFLOP/s +GOP/s '
for stage in attn.core out.proj_a hc.post; do
    prints "^  $stage +[0-9]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ % "
done
holds 'a line for each stage name' [ -z "$(sed -nE 's/^  ([a-z_]+\.[a-z_.]+) +[0-9].*/\1/p' out | sort | uniq -d)" ]
has_json times.json attention.plan stages 0 name
has_json times.json 1 stages 0 blocks

finish
