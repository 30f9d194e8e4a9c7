#!/usr/bin/env bash
# usage: test_inspect.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 inspect`: the model that comes with the project, and copies of it with something wrong.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
english=$vectors/../../models/tiny-english
second=model-00002-of-00002.safetensors

# ---- as it must be
accepts inspect "$english" --json e.json
prints 'DeepSeek-V4, dimensions "unnamed", 4 layers, 0 draft blocks \(none\)$'
prints '^  attention  4 heads of 128 \(64 rotated\), q rank 128, output 2 groups of rank 64, window 32$'
prints '^0 +window +token id '
prints '^1 +compressed 4 +score '
prints '^2 +compressed 128 +score '
prints '^routed experts +192 .* F8_E8M0 FP4\(I8\)$'
prints "^$(grep -c '\.safetensors"' "$english/model.safetensors.index.json") tensors, "
prints '^missing 0, unexpected 0, wrong 0; values not checked'
bytes=$("$json_get" "$english/model.safetensors.index.json" metadata total_size)
has_json e.json "$bytes" trunk bytes
has_json e.json 0 draft bytes
has_json e.json 0 n_missing
has_json e.json 'compressed 4' layers 1 attention
has_json e.json 'token id' layers 0 routing
has_json e.json 512 architecture vocab_size
has_json e.json fp4 architecture expert_dtype
accepts inspect "$english" --values --tensors
prints '^layers\.3\.attn\.indexer\.compressor\.ape +F32 +\[4, 256\] +4096  model-00002'
prints 'wrong 0; all values checked$'
accepts inspect "$english" --tensors --json -
has_json out embed.weight tensors 0 name

# ---- something wrong
copy() {
    rm -rf copy
    cp -r "$english" copy
    chmod -R u+w copy
}
copy
rm copy/$second
run inspect copy --json m.json
exits 1
prints "^  missing +$second: cannot open"
has_json m.json 1 n_missing
has_json m.json missing problems 0 kind
copy
truncate -s -1 copy/$second
run inspect copy
exits 1
prints "^  wrong +$second: "
copy
sed -i 's/"embed\.weight"/"embed.weights"/' copy/model.safetensors.index.json
run inspect copy
exits 1
prints "tensor 'embed\.weight' is not listed, expected BF16 \[512, 128\]$"
prints "^  unexpected .* 'embed\.weights' is no part of this architecture$"
copy
sed -i 's/"n_routed_experts": 8/"n_routed_experts": 1000/' copy/config.json
run inspect copy
exits 1
prints '^  and [0-9]+ more \(--json FILE\)$'

# ---- no checkpoint
refuses 'nothing/config\.json: cannot open' inspect nothing
refuses 'expected one' inspect
refuses 'expected one' inspect "$english" "$english"
copy
sed -i 's#"embed\.weight": "model#"embed.weight": "../model#' copy/model.safetensors.index.json
refuses 'embed\.weight.*expected the plain name' inspect copy
copy
sed -i 's/"deepseek_v4"/"other"/' copy/config.json
refuses 'config\.json: model_type is "other", expected "deepseek_v4"' inspect copy
rm copy/config.json
ln -s config.json copy/config.json
refuses 'config\.json: cannot open' inspect copy
finish
