#!/usr/bin/env bash
# usage: test_usage.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# Help, listings, and everything that can be wrong on the command line.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

# ---- help
accepts --help
for name in list run check bench trace sim tune inspect convert synth tokenize generate; do
    prints "^  $name "
done
for name in list run check bench trace sim tune inspect convert synth tokenize generate; do
    accepts "$name" --help
    prints "^usage: dsv4 $name "
    prints '^  --json FILE\|- '
    prints '^exit codes: 0 pass, 1 mismatch, 2 bad input or usage, 130 interrupted$'
    holds 'the help fits 110 columns' [ "$(wc -L <out)" -le 110 ]
done
accepts run --help
for option in preset mode batch seq start-pos compress-ratio seed threads numerics compat act-scale index-cache deps set \
    inputs save bench trace deps-json csv level pmu ceilings; do
    prints "^  --$option "
done
accepts run nonsense --help --batch 0
prints '^usage: dsv4 run '

# ---- commands
refuses 'no command; see dsv4 --help'
refuses 'command "nonsense" is unknown; see dsv4 --help' nonsense
refuses 'command "--nonsense" is unknown' --nonsense
refuses 'command "" is unknown' ''

# ---- options
for name in list run check bench trace sim tune inspect convert synth tokenize generate; do
    refuses "$name: option --nonsense is unknown.*; see dsv4 $name --help" "$name" --nonsense
    refuses "$name: option -x is unknown" "$name" -xy
    refuses "$name: option --json needs a value" "$name" --json
    refuses "$name: option --help=3 takes no value" "$name" --help=3
done
refuses 'option --verify=1 takes no value' run rmsnorm --verify=1
refuses 'option --se is unknown or ambiguous' run rmsnorm --se 3
for option in preset mode batch seq start-pos compress-ratio seed threads numerics compat act-scale index-cache deps set inputs \
    save trace deps-json csv level pmu json; do
    refuses "option --$option needs a value" run rmsnorm "--$option"
done

# ---- numbers
for option in batch seq threads; do
    for value in 0 -1 1.5 1x x '' ' ' 99999999999999999999 0x10; do
        refuses "--$option: got \"$value\", expected a whole number from 1 to" run rmsnorm --preset tiny "--$option" "$value"
    done
done
refuses '--threads: got "1025", expected .* to 1024' run rmsnorm --preset tiny --threads 1025
refuses '--batch: got "1048577", expected' run rmsnorm --preset tiny --batch 1048577
refuses '--start-pos: got "-1", expected' run rmsnorm --start-pos -1
refuses '--start-pos: got "267386881", expected .* to 267386880' run rmsnorm --start-pos 267386881
refuses '--seed: got "-1", expected' run rmsnorm --seed -1
refuses '--bench: got "0", expected' run rmsnorm --bench 0
refuses '--bench: got "many", expected' run rmsnorm --bench=many
for value in 1 8 129 -4 four ''; do
    refuses "--compress-ratio: got \"$value\", expected 0, 4 or 128" run rope_tables --compress-ratio "$value"
done
refuses 'rounds: got "0", expected' bench rt --rounds 0

# ---- names
refuses 'preset .huge. is unknown, expected flash, pro or tiny' run rmsnorm --preset huge
refuses '--mode: got "training", expected decode or prefill' run rmsnorm --mode training
refuses 'deps: got "none", expected block, stage or tensor' run rmsnorm --deps none
refuses 'numerics: "official" is not available, expected w8a8' run rmsnorm --preset tiny --numerics official
refuses 'compat: got "newest", expected reference or correct' run rmsnorm --compat newest
refuses 'act_scale: got "column", expected group, row or block' check x.safetensors --act-scale column
refuses 'index-cache: got "fp4", expected bf16 or int8' run rmsnorm --index-cache fp4
refuses 'rmsnorm: has no index cache, got --index-cache int8' run rmsnorm --index-cache int8
refuses 'numerics: "fp64" is not available' run rmsnorm --preset tiny --numerics fp64
refuses 'got "nonsense", expected one of .*rmsnorm' run nonsense
refuses 'got "nonsense", expected one of .*rmsnorm' list nonsense
refuses 'got 0 operators, expected one' run
refuses 'got 2 operators, expected one' run rmsnorm rope_tables
refuses 'got 2 operators, expected at most one' list rmsnorm rope_tables
refuses 'got no file' check
refuses 'bench: ' bench
refuses 'bench: .*"nonsense"' bench nonsense
refuses '--save: got "-", expected a file' run rmsnorm --save -
refuses '--trace: got "-", expected a file' run rmsnorm --trace -
refuses '--deps-json: got "-", expected a file' run rmsnorm --deps-json -

# ---- tiles
tile() { # pattern, operator, setting
    refuses "$1" run "$2" --preset tiny --set "$3"
}
tile 'tile .?nonsense.? is unknown, expected one of t_tile, norm_parts' rmsnorm nonsense=1
tile 'tile .* is unknown, expected one of t_tile' rmsnorm =1
tile 'tile .?t.? is unknown' rmsnorm t=1
tile 'got --set "t_tile", expected NAME=VALUE' rmsnorm t_tile
tile 't_tile=.* whole number' rmsnorm t_tile=
tile 't_tile=four\b.*whole number' rmsnorm t_tile=four
tile 't_tile=4x\b.*whole number' rmsnorm t_tile=4x
tile 't_tile=99999999999999999999\b.*whole number' rmsnorm t_tile=99999999999999999999
tile 't_tile=0, expected .*1 to 2147483647' rmsnorm t_tile=0
tile 't_tile=-4, expected .*1 to 2147483647' rmsnorm t_tile=-4
tile 't_tile=4294967296, expected .*1 to 2147483647' rmsnorm t_tile=4294967296
tile 'head_group=3, rule .*expected a divisor of 8 \(num_attention_heads\)' qkv_proj_rope head_group=3
tile 'n_tile=17, rule .*expected a multiple of 32' qkv_proj_rope n_tile=17
tile 'k_split=2, rule .*expected at most 1' qkv_proj_rope k_split=2
refuses 'head_group=5, rule .*expected a divisor of 8' run qkv_proj_rope --preset tiny --set n_tile=32 --set head_group=5
mapfile -t many < <(printf -- '--set\nt_tile=1\n%.0s' {1..40})
refuses '--set: more than' run rmsnorm --preset tiny "${many[@]}"

# ---- kernels
DSV4_ISA=nonsense refuses "DSV4_ISA .nonsense.*scalar" run rmsnorm --preset tiny

# ---- listings
accepts list
for op in rope_tables rmsnorm qkv_proj_rope; do
    prints "^$op +any +any +[a-zA-Z]"
done
accepts list qkv_proj_rope
prints '^  wq_b +in +I8 +\[QL,H\*hd\] '
prints '^  qr_scale +out +F32 +\[T,1\] '
prints '^  QL +q_lora_rank$'
prints '^  head_group .*divides H '
prints '^  n_tile .*multiple of 32 '
prints '^  k_split .*at most ceil\(D/512\) '
prints_nothing_like '^  N +rows of a table'
holds 'the listing fits 120 columns' [ "$(wc -L <out)" -le 120 ]

finish
