#!/usr/bin/env bash
# usage: test_convert.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 convert`: the model that comes with the project becomes a packed folder, which is never broken and never something else's.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
english=$vectors/../../models/tiny-english

accepts convert "$english" packed --verify --threads 2 --json c.json
prints '^packed: [0-9]+ weights, [0-9]+ bytes, for w8a8 \(FP8 weights as INT8\)$'
prints '^all checksums hold$'
has_json c.json "$(stat -c %s packed/weights.dsv4)" bytes
has_json c.json 0 n_kept
has_json c.json true verified
for name in config.json tokenizer.json tokenizer_config.json generation_config.json; do
    holds "$name is there" cmp "$english/$name" "packed/$name"
done
holds 'nothing else is there' [ "$(find packed -type f | wc -l)" = 5 ]
accepts convert "$english" packed
prints '^packed: was converted before, nothing to do'
accepts inspect packed --values --json i.json
prints '^packed: packed DeepSeek-V4, dimensions "unnamed", 4 layers, 0 draft blocks \(none\)$'
prints 'all checksums hold$'
has_json i.json true int8
cp packed/weights.dsv4 first
accepts convert "$english" packed --restart --threads 1
holds 'the same bytes for any number of threads' cmp packed/weights.dsv4 first
refuses 'is packed from other files or for other numerics: --restart replaces it' convert "$english" packed --numerics official
accepts convert "$english" packed --numerics official --restart
prints 'for all numerics but w8a8$'

# ---- damage
printf 'x' | dd of=packed/weights.dsv4 bs=1 seek=$((3 << 20)) conv=notrunc status=none
refuses "weights\.dsv4: '.*' is damaged: checksum" convert "$english" packed --numerics official --verify
truncate -s 1000 packed/weights.dsv4

accepts convert "$english" packed --numerics official --restart --verify

# ---- what cannot be
refuses 'got 1 folders, expected two' convert "$english"
refuses "numerics: got 'int3', expected" convert "$english" other --numerics int3
refuses 'cannot open' convert nowhere other
holds 'nothing was made' [ ! -e other ]
mkdir other
echo text >other/notes
refuses "other: holds 'notes', expected a new folder" convert "$english" other --restart
holds 'it is as it was' [ "$(cat other/notes)" = text ]
refuses 'cannot make the folder' convert "$english" other/notes
refuses 'cannot make the folder' convert "$english" no/such/folder
cp -r "$english" broken
chmod -R u+w broken
rm broken/model-00002-of-00002.safetensors
refuses 'model-00002-of-00002\.safetensors' convert broken new
holds 'nothing was made' [ ! -e new ]
finish
