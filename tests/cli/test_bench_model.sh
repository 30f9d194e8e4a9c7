#!/usr/bin/env bash
# usage: test_bench_model.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# dsv4 bench model and dsv4 bench model-forecast: steps of whole models, measured here and simulated elsewhere.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
model=$vectors/../../models/tiny-english

# ---- measured: 4 layers with 2 of 8 experts for each token
accepts bench model -m "$model" --rounds 3 --batch 1,3 --prefill 40 --threads 1 --stages --json one.json --csv one.csv --markdown one.md
prints '^decode +1 '
prints '^decode +3 '
prints '^prefill +40 '
prints '^    moe.down +[0-9]+ '
prints '^ceilings of 1 thread: read '
has_json one.json 8 steps 0 experts
has_json one.json 1 steps 0 tokens
has_json one.json 32 steps 2 experts
has_json one.json prefill rows 2 name
holds 'one.csv has the rows' [ "$(grep -c '^model,' one.csv)" = 3 ]
holds 'one.md has the rows' [ "$(grep -cE '^\| (decode|prefill) ' one.md)" = 3 ]

# ---- the same logits on two workers, after the same tokens
accepts bench model -m "$model" --rounds 3 --batch 1,3 --prefill 40 --threads 2 --json two.json --trace step.trace.json
for i in 0 1 2; do
    has_json two.json "$("$json_get" one.json steps $i checksum)" steps $i checksum
done
accepts sim step.trace.json --device server-64c
prints 'makespan [0-9.]+ '

# ---- behind tokens that are past, other numerics
accepts bench model -m "$model" --rounds 1 --batch 2 --prefill 0 --start-pos 300 --numerics official --json past.json
has_json past.json decode steps 0 step

# ---- forecasts need no weights
accepts bench model-forecast --config "$model/config.json" --devices avx2-2c,server-64c --batch 1,4 --markdown forecast.md --json f.json
prints '^server-64c +64 +4 '
has_json f.json 4 steps 3 batch
holds 'forecast.md has the rows' [ "$(grep -cE '^\| (avx2-2c|server-64c) ' forecast.md)" = 4 ]

refuses 'got no --model' bench model
refuses '--batch: got "1,,2", expected 1 to 8 numbers' bench model -m "$model" --batch 1,,2
refuses '--batch: got "0", expected 1 to 8 numbers' bench model -m "$model" --batch 0
refuses "numerics: got 'x'" bench model -m "$model" --numerics x
refuses 'nowhere' bench model -m nowhere
refuses 'got no --config or no --devices' bench model-forecast --devices avx2-2c
refuses '--devices: got ",", expected 1 to 8 names' bench model-forecast --config x --devices ,
finish
