#!/usr/bin/env bash
# usage: test_tokenize.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 tokenize`: texts and ids of tests/text/data/encoded.jsonl.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
english=$vectors/../../models/tiny-english

# ---- a text
accepts tokenize -m "$english" -p 'Hello, world!' --json h.json
prints '^      42  "H"$'
prints '^      14  ","$'
prints '^text "Hello, world!"$'
prints '^9 tokens, 13 bytes$'
i=0
for id in 42 71 277 81 14 269 289 328 3; do
    has_json h.json "$id" ids $i
    i=$((i + 1))
done
has_json h.json H pieces 0
has_json h.json 'Hello, world!' text
printf 'a\n"\001<think>\303\251' >text
accepts tokenize --tokenizer "$english/tokenizer.json" --file text
prints '^      67  "a"$'
prints '"\\n"$'
prints '"\\""$'
prints '"\\x01"$'
prints '^     499  "<think>"$'
prints '^text "a\\n\\"\\x01<think>é"$'
printf 'In\0the' >text
accepts tokenize --model "$english" --file text
prints '^     191  "\\x00"$'
accepts tokenize --model "$english" --prompt ''
prints '^0 tokens, 0 bytes$'

# ---- ids
accepts tokenize --model "$english" --decode '42, 71 277,81' --json -
has_json out Hello text
has_json out 277 ids 2

# ---- something wrong
refuses 'expected one of --prompt, --file and --decode' tokenize --model "$english"
refuses 'expected one of --prompt, --file and --decode' tokenize --model "$english" --prompt a --decode 1
refuses 'expected one of --prompt, --file and --decode' tokenize --model "$english" --prompt a b
refuses 'expected one of --model and --tokenizer' tokenize --prompt a
refuses 'nothing/tokenizer\.json: cannot open' tokenize --model nothing --prompt a
refuses 'missing: cannot open' tokenize --model "$english" --file missing
refuses '--prompt: tokenizer: text: byte 1 is not UTF-8$' tokenize --model "$english" --prompt $'a\xff'
printf '\200' >text
refuses 'text: tokenizer: text: byte 0 is not UTF-8$' tokenize --model "$english" --file text
refuses 'got "x", expected an id below' tokenize --model "$english" --decode '5 x'
refuses 'got "-5", expected an id below' tokenize --model "$english" --decode '-5'
refuses 'expected an id below' tokenize --model "$english" --decode '99999999999999999999'
refuses 'got id 512, which names no token; ids are below 512' tokenize --model "$english" --decode 512
finish
