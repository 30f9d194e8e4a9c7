#!/usr/bin/env bash
# usage: test_bench_kernels.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `bench kernels`: what it reports, and that results depend neither on threads nor on the instruction set. How fast it is, is not tested.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

bench() { # argument...
    accepts bench kernels --preset tiny --memory 1 --rounds 1 "$@"
}

# suite,name,by,shape,weights,rows,...,checksum: what does not depend on times, of products with cold weights
results() { # file.csv
    grep ',cold,' "$1" | cut -d, -f2,4-6,16
}

# ---- forms of the results
bench --rows 1,3,20 --threads 2 --csv kernels.csv --json kernels.json --plot kernels.svg
prints '^ceilings of 2 threads: read [0-9.]+ GB/s, copy [0-9.]+ GB/s, INT8 [0-9]+ GOP/s, BF16 [0-9]+ GFLOP/s'
prints '^name +by +shape +weights +rows +us +p10 +p90 +GB/s +GOP/s +bound us +of bound +idle +x dsv4 +checksum$'
for row in 'bf16 +[a-z0-9]+ +96x40 +cold +1' 'bf16 +[a-z0-9]+ +2x640x64 +cold +20' 'i8 +[a-z0-9]+ +96x40 +cold +3' \
    'i8 +[a-z0-9]+ +64x[0-9]+ +cached +20' 'softmax +[a-z0-9]+ +128x64 +cached +-'; do
    prints "^$row .* [0-9a-f]{16}$"
done
has_json kernels.json kernels suite
has_json kernels.json 2 threads
has_json kernels.json bf16 rows 0 name
has_json kernels.json 3 rows 1 rows
has_json kernels.json 2x640x64 rows 3 shape
has_json kernels.json 163840.0 rows 3 bytes # 2 x 640 x 64 BF16
has_json kernels.json 163840.0 rows 3 ops   # a row
for ceiling in read_bytes_s copy_bytes_s ops_i8_s flops_bf16_s flops_f32_s; do
    holds "$ceiling is there" [ "$("$json_get" kernels.json ceilings "$ceiling")" != 0.0 ]
done
holds 'the CSV says where it was made' [ "$(grep -cE '^# (cpu|cores|threads|commit|date|compiler): .' kernels.csv)" = 6 ]
holds 'every other line has 16 fields' [ "$(grep -v '^#' kernels.csv | awk -F, '{ print NF }' | sort -u)" = 16 ]
holds 'the CSV has 5 ceilings' [ "$(grep -c '^ceilings,' kernels.csv)" = 5 ]
holds 'the CSV has the rows of the text' [ "$(grep -c '^kernels,' kernels.csv)" = "$(grep -cE ' [0-9a-f]{16}$' out)" ]
holds 'the plot is a drawing' [ "$(head -c 4 kernels.svg) $(tail -n 1 kernels.svg)" = '<svg </svg>' ]
holds 'its coordinates are numbers' fails grep -qE 'nan|inf' kernels.svg
holds 'every product has a marker, five are in the legend' [ "$(grep -c '<path' kernels.svg)" = 50 ]

# ---- the same bits
bench --rows 1,3,20 --threads 1 --csv one.csv
holds 'one worker finds the same' [ "$(results kernels.csv)" = "$(results one.csv)" ]
DSV4_ISA=scalar bench --rows 1,3,20 --threads 2 --csv scalar.csv
holds 'scalar kernels find the same' [ "$(results kernels.csv)" = "$(results scalar.csv)" ]
bench --rows 8 --family i8 --csv i8.csv
holds 'one family alone' [ "$(grep '^kernels,' i8.csv | cut -d, -f2 | sort -u)" = i8 ]

# ---- what is wrong
accepts bench kernels --help
prints '^usage: dsv4 bench kernels '
for list in '' ',' 0 -1 1,0 1x '1,,2' '1,' 5000 99999999999999999999 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1; do
    refuses "rows: got \"$list\", expected 1 to 16 numbers from 1 to 4096" bench kernels --rows "$list"
done
refuses 'preset: got "huge", expected flash or tiny' bench kernels --preset huge
refuses 'family: got "fp64", expected one of bf16, i8' bench kernels --family fp64
refuses 'rounds: got "0", expected' bench kernels --rounds 0
refuses 'memory: got "0", expected' bench kernels --memory 0
refuses 'bench kernels: got "bf16", expected options alone' bench kernels bf16
refuses '--csv: got "-", expected a file' bench kernels --csv -
refuses '--plot: got "-", expected a file' bench kernels --plot -
refuses 'bench: got "nonsense", expected one of kernels, ' bench nonsense
run bench kernels --preset tiny --memory 1 --rounds 1 --rows 1 --csv nowhere/table.csv
exits 2
complains 'nowhere/table\.csv'
DSV4_ISA=nonsense refuses 'DSV4_ISA .nonsense' bench kernels --preset tiny
finish
