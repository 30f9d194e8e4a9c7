#!/usr/bin/env bash
# usage: test_bench_ops.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `bench ops`, `bench layer` and `bench peers`: what they count and report. How fast anything is, is not tested.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

bench() { # suite, argument...
    accepts bench "$1" --preset tiny --context 1024 --rounds 2 "${@:2}"
}

# ---- rows, and what a bound counts
bench ops --only hc_post --json post.json
for shape in 'decode +[a-z]+ +1' 'decode +[a-z]+ +8' 'prefill +[a-z]+ +128' 'prefill +[a-z]+ +512'; do
    prints "^hc_post +dsv4 +$shape +[0-9.]+ "
done
has_json post.json ops suite
has_json post.json 4688.0 rows 0 bytes # of 256: a row, 4 streams in and out, BF16; 4 + 16 gates, FP32
has_json post.json 0.0 rows 0 ops
bench ops --only qkv_proj_rope --json qkv.json
has_json qkv.json 393216.0 rows 0 ops # 2 * (256*128 + 256*128 + 128*1024)
has_json qkv.json 3145728.0 rows 1 ops
bench ops --only hc_pre --json pre.json
has_json pre.json 0.0 rows 0 ops # FP32 products are fma, counted with elementwise work

# ---- stages
bench ops --only indexer --stages --json two.json
prints '^ +stage +blocks +us +bound us +binds +of it +of all$'
prints '^ +index.score +[0-9]+ +[0-9.]+ +[0-9.]+ +(read|int8|fp32) +[0-9.]+ % +[0-9.]+ %$'
prints '^ +index.topk .* (fp32|read) '

# ---- the same results by one worker
bench ops --only indexer --threads 1 --json one.json --csv one.csv
for row in 0 1 2 3; do
    holds "row $row: same checksum" [ "$("$json_get" one.json rows $row checksum)" = "$("$json_get" two.json rows $row checksum)" ]
done
holds 'the CSV has four rows of the suite' [ "$(grep -c '^ops,indexer,dsv4,' one.csv)" = 4 ]

# ---- layers
bench layer --json layer.json
for ratio in csa hca swa; do
    prints "^attention +dsv4 +decode $ratio +[a-z]+ +8 "
    prints "^attention +dsv4 +prefill $ratio +[a-z]+ +512 "
done
holds 'a worker idles at times' [ "$("$json_get" layer.json rows 0 idle_share)" != 0.0 ]

# ---- what is refused
run bench ops --context 100
exits 2
complains '--context 100, expected at least the 128 tokens'
run bench layer --only nonsense
exits 2
complains '"nonsense"'
run bench ops nonsense
exits 2
complains '"nonsense"'

# ---- peers: only some builds have them
run bench peers --preset tiny --context 1024 --rounds 1 --only hc_pre
if [ "$status" = 0 ]; then
    prints '^hc_pre +OpenMP \+ oneDNN +decode +[a-z]+ +8 '
    prints '^hc_pre +OpenMP \+ oneDNN +prefill +[a-z]+ +512 '
else
    exits 2
    complains 'libdnnl-dev'
fi
finish
