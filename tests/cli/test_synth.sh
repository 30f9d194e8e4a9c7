#!/usr/bin/env bash
# usage: test_synth.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 synth`: what it writes is a checkpoint to the other commands, and depends on the seed alone.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

accepts synth made --draft --threads 2 --json s.json
prints '^made: 427 tensors, [0-9]+ bytes in 7 files; random weights, no tokenizer$'
has_json s.json 427 n_tensors
bytes=$("$json_get" s.json bytes)
accepts inspect made --values --json i.json
prints '^missing 0, unexpected 0, wrong 0; all values checked$'
prints '^0 +window +token id '
prints '^1 +compressed 4 +score '
prints '^2 +compressed 128 +score '
prints '^draft 0 +window +score '
prints "^427 tensors, $bytes bytes "
accepts convert made packed --verify
accepts synth again --draft --threads 1
holds 'the same for any number of threads' diff -r made again
accepts synth other --draft --seed 2
holds 'other for another seed' fails cmp -s made/model-00002-of-00007.safetensors other/model-00002-of-00007.safetensors
accepts synth base --layers 1 --experts 3 --fp8-experts
accepts inspect base --values
prints '3 routed \(fp8\), 2 for a token'
accepts convert base base_packed --verify --numerics official

# ---- what cannot be
refuses "made: holds '.*', expected a new or empty folder" synth made
refuses "preset 'large' is unknown" synth new --preset large
refuses 'num_experts_per_tok <= n_routed_experts' synth new --experts 1
refuses 'the disk has' synth big --preset pro --layers 256 --experts 1024
refuses 'got 2 folders, expected one' synth one two
refuses 'cannot make the folder' synth no/such
holds 'nothing was made' [ ! -e new ]
finish
