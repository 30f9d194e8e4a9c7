#!/usr/bin/env bash
# usage: test_run.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 run`: every operator, size and way to run it; saved results are the same bytes however they were computed.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
"$make_bad_files" .

declare -A outputs=([rope_tables]='freqs_cos freqs_sin' [rmsnorm]='x_normed' [qkv_proj_rope]='q kv qr qr_scale')

runs() { # operator, argument...
    accepts run "$@"
    for name in ${outputs[$1]}; do
        prints "^  PASS $name "
    done
    prints_nothing_like 'FAIL|SKIP'
    prints '^  time [0-9.]+ ms'
}

# ---- sizes
for op in rope_tables rmsnorm qkv_proj_rope; do
    for mode in decode prefill; do
        runs $op --preset tiny --mode $mode
        prints "^$op tiny $mode"
        leaves_out "$op flash $mode" || {
            runs $op --preset flash --mode $mode --seq 5
            prints "^$op flash $mode"
        }
    done
    runs $op --preset tiny --verify
    prints 'declarations verified'
done
runs qkv_proj_rope --preset tiny --batch 1 --seq 3
prints ' of 384 over ' # kv: 3 rows of 128
runs qkv_proj_rope --preset tiny --batch 3 --seq 7 --verify --mode prefill
prints ' of 2688 over ' # kv: 21 rows of 128
runs rope_tables --preset tiny --compress-ratio 4
runs rope_tables --preset tiny --compress-ratio 128

# ---- the same bytes however they were computed
saves() { # file, operator, argument...
    runs "${@:2}" --save "$1"
}
same() { # argument...
    saves this.safetensors qkv_proj_rope --preset tiny --seed 7 --seq 5 "$@"
    holds 'the saved bytes are the same' cmp -s this.safetensors reference.safetensors
}
saves reference.safetensors qkv_proj_rope --preset tiny --seed 7 --seq 5
for n in 1 2 3 8; do
    same --threads $n
done
for deps in block stage tensor; do
    same --deps $deps
done
same --verify
same --mode prefill --batch 4
same --set t_tile=1 --set n_tile=32 --set k_split=1
same --set t_tile=7 --set norm_t_tile=3 --set head_group=8
for isa in scalar avx2 avx2vnni avx512 avx512bf16; do
    command="dsv4 run rmsnorm on $isa"
    if DSV4_ISA=$isa "$program" run rmsnorm --preset tiny >out 2>err; then
        DSV4_ISA=$isa same
    else
        holds 'only a missing instruction set is refused' grep -qE "DSV4_ISA '$isa': (this machine lacks|no such kernels)" err
    fi
done
saves other.safetensors qkv_proj_rope --preset tiny --seed 8 --seq 5
holds 'another seed draws other bytes' fails cmp -s other.safetensors reference.safetensors

# ---- saved files
accepts check reference.safetensors
prints '^  PASS qr_scale '
prints_nothing_like 'FAIL|SKIP'
runs qkv_proj_rope --inputs reference.safetensors --save again.safetensors
holds 'inputs from a file give the same file' cmp -s again.safetensors reference.safetensors
runs qkv_proj_rope --inputs reference.safetensors --save reference.safetensors
holds 'a file may be replaced by its own results' cmp -s again.safetensors reference.safetensors
refuses 'absent/x: cannot write' list --json absent/x
run run rmsnorm --preset tiny --save absent/x.safetensors
exits 2
complains 'absent/x\.safetensors: cannot write'
mkdir folder
run run rmsnorm --preset tiny --save folder
exits 2
complains 'folder: cannot write'
holds 'no temporary file is left' [ -z "$(find . -name '*.tmp')" ]

# ---- inputs from files
for file in "$vectors"/rmsnorm_*.safetensors; do
    runs rmsnorm --inputs "$file"
done
for file in "$vectors"/qkv_proj_rope_*.safetensors; do
    runs qkv_proj_rope --inputs "$file" --mode prefill
done
for file in "$vectors"/rope_tables_*.safetensors; do
    runs rope_tables --inputs "$file"
done
refuses 'missing\.safetensors: cannot open' run rmsnorm --inputs missing.safetensors
refuses 'folder: not a regular file' run rmsnorm --inputs folder
refuses 'truncated\.safetensors: ' run rmsnorm --inputs truncated.safetensors
refuses "in_nan\.safetensors: .*'in.x': element 9 is NaN" run rmsnorm --inputs in_nan.safetensors
refuses 'in_shape\.safetensors: .*tensor x: got' run rmsnorm --inputs in_shape.safetensors
refuses 'in_missing\.safetensors: .*input x is missing' run rmsnorm --inputs in_missing.safetensors
refuses 'good\.safetensors: .*is missing' run qkv_proj_rope --inputs good.safetensors
refuses 'good\.safetensors: .*nonsense' run rmsnorm --inputs good.safetensors --set nonsense=1
refuses 'config_zero\.safetensors: .*hidden_size' run rmsnorm --inputs config_zero.safetensors
refuses 'rope_huge\.safetensors: .* GB, expected at most' run rope_tables --inputs rope_huge.safetensors
refuses ' GB, expected at most' run rmsnorm --preset flash --batch 1048576 --seq 1048576

finish
