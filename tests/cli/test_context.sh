#!/usr/bin/env bash
# usage: test_context.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `bench context`: what it reports of an attention layer at growing contexts. How long a step takes, is not tested.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

value() { # file, key...
    "$json_get" "$@"
}

bench() { # argument...
    accepts bench context --preset tiny --rounds 2 "$@"
}

# ---- CSA
bench --contexts 64,8k,64k --threads 1 --json csa.json --markdown csa.md
prints '^decode_attention_csa tiny: 1 request of 1 token, index cache bf16; medians of 2 replays by 1 worker$'
prints '^context +compressed +layer ms +index ms +core ms +plan ms +rest ms +between MB .*checksum'
for row in '64 +16' '8k +2048' '64k +16384'; do
    prints "^ +$row +[0-9.]+ .* [0-9a-f]{16}$"
done
has_json csa.json decode_attention_csa op
has_json csa.json tiny config
has_json csa.json 1 workers
has_json csa.json 65536 contexts 2 context
has_json csa.json 16384 contexts 2 compressed_rows
has_json csa.json 4096 contexts 2 window_bytes        # 16 rows of 128, BF16
has_json csa.json 4194304 contexts 2 compressed_bytes # 16384 rows of 128
has_json csa.json 2097152 contexts 2 index_bytes      # 16384 rows of 64
has_json csa.json 798720 contexts 2 state_bytes       # 260 rows of 512, and of 256, FP32
for part in layer index core plan rest; do
    holds "$part takes time" [ "$(value csa.json contexts 2 ${part}_s)" != 0.0 ]
done
holds 'memory between stages does not grow' \
    [ "$(value csa.json contexts 1 between_bytes)" = "$(value csa.json contexts 2 between_bytes)" ]
holds 'the states do not grow' [ "$(value csa.json contexts 1 state_bytes)" = "$(value csa.json contexts 2 state_bytes)" ]
holds 'contexts give other results' [ "$(value csa.json contexts 1 checksum)" != "$(value csa.json contexts 2 checksum)" ]

checksum=$(value csa.json contexts 2 checksum)
holds 'the Markdown has a line for the setting, a table of three rows' \
    [ "$(grep -c '^decode_attention_csa tiny: ' csa.md) $(grep -c '^|' csa.md)" = '1 5' ]
holds 'its rows are those of the text' grep -qE "^\| 64k \| 16384 \| .* \| $checksum \|$" csa.md
bench --contexts 64k --threads 3 --json -
has_json out "$checksum" contexts 0 checksum

bench --contexts 1000 --batch 2 --seq 3 --index-cache int8 --json csa.json
prints ': 2 requests of 3 tokens, index cache int8; '
prints '^ +1000 +250 '
has_json csa.json 34816 contexts 0 index_bytes # two requests, 16 pages of 16 rows of 64 bytes and a scale

# ---- HCA, SWA
bench --contexts 4k --compress-ratio 128 --json hca.json
has_json hca.json decode_attention_hca op
has_json hca.json 32 contexts 0 compressed_rows
has_json hca.json 0.0 contexts 0 index_s
has_json hca.json 0 contexts 0 index_bytes
has_json hca.json 524288 contexts 0 state_bytes # 512 rows of 256, FP32
bench --contexts 4k --compress-ratio 0 --json swa.json
has_json swa.json decode_attention_swa op
has_json swa.json 0 contexts 0 compressed_rows
has_json swa.json 0 contexts 0 compressed_bytes

# ---- what is wrong
accepts bench context --help
prints '^usage: dsv4 bench context '
accepts bench rt --help
prints '^usage: dsv4 bench rt '
for list in '' , k 0 -1 1x 1k, ,1k 1k,,2k 1kk 1K 17M 99999999999999999999 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1; do
    refuses "contexts: got \"$list\", expected 1 to 16 contexts of 1 to 16M tokens" bench context --contexts "$list"
done
refuses 'contexts: got 2 tokens, expected at least the 3 of --seq' bench context --preset tiny --seq 3 --contexts 4k,2
refuses '5 tokens of a request, rule: at most 4' bench context --preset tiny --seq 5 --contexts 64
refuses 'decode_attention_hca: has no index cache' bench context --preset tiny --compress-ratio 128 --index-cache int8
refuses 'preset .huge. is unknown' bench context --preset huge
refuses 'rounds: got "0", expected' bench context --rounds 0
refuses 'bench context: got "4k", expected options alone' bench context 4k
refuses 'bench rt: got "context", expected options alone' bench rt context
refuses 'bench context: option --mode is unknown' bench context --mode prefill
refuses '--markdown: got "-", expected a file' bench context --markdown -
run bench context --preset tiny --rounds 1 --contexts 64 --markdown nowhere/table.md
exits 2
complains 'nowhere/table\.md'
finish
