#!/usr/bin/env bash
# usage: test_generate.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 generate` on the model that comes with the project, against what its reference generated, and on one with a draft block.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
english=$vectors/../../models/tiny-english
random=$vectors/../model/data/tiny-random
expected=$vectors/../model/data/tiny-english/expected.json

generates() { # argument...
    accepts generate --quiet "$@"
}

same() { # what, file, file
    holds "$1" cmp -s "$2" "$3"
}

# ---- the reference's tokens and text
n=$("$json_get" "$expected" n)
for i in 0 1 2 3 4; do
    prompt=$("$json_get" "$expected" prompts $i)
    generates -p "$prompt" -n "$n" --numerics exact --json e.json
    has_json e.json "$("$json_get" "$expected" greedy exact $i prompt_tokens)" prompt_tokens
    has_json e.json "$("$json_get" "$expected" greedy exact $i tokens)" tokens
    has_json e.json "$("$json_get" "$expected" greedy exact $i text)" text
    has_json e.json length end
    "$json_get" "$expected" greedy exact $i text >text
    same 'stdout is the text' out text
done

# ---- how well it predicts
printf '%s' "$("$json_get" "$expected" heldout_text)" >heldout
within() { # what, got, expected, most
    holds "$1: $2, expected $3" awk -v a="$2" -v b="$3" -v d="$4" 'BEGIN { exit !(a - b < d && b - a < d) }'
}
for numerics in exact official bf16 quant_f32 w8a8; do
    [ $numerics = exact ] || [ $numerics = official ] || ! leaves_out "perplexity in $numerics" || continue
    generates --perplexity heldout --context 256 --numerics $numerics --json p.json
    prints "^perplexity 1[56]\.[0-9]+ .* of 1024 tokens in 4 segments of up to 256, numerics $numerics$"
    reference=$numerics
    [ $numerics != w8a8 ] || reference=official
    within "perplexity, $numerics" "$("$json_get" p.json perplexity)" "$("$json_get" "$expected" perplexity $reference perplexity)" 0.1
done
generates --perplexity heldout --context 256 --numerics exact --chunk 50 --json p.json
for i in 0 1 2 3; do
    within "segment $i" "$("$json_get" p.json nats_per_token_of_segments $i)" \
        "$("$json_get" "$expected" perplexity exact per_segment $i)" 0.0001
done

# ---- the model is found
generates -p 'In the beginning' -n 20 --json by_default.json
cp out by_default
generates -m "$english" -p 'In the beginning' -n 20
same 'the default model is tiny-english' out by_default
DSV4_MODEL=$english generates -p 'In the beginning' -n 20
same 'the model of $DSV4_MODEL' out by_default
DSV4_MODEL=nothing refuses 'nothing/config\.json: cannot open' generate -p x

# ---- a packed model
accepts convert "$english" packed
generates -m packed -p 'In the beginning' -n 20
same 'packed as published' out by_default
refuses 'packed' generate --quiet -m packed -p x --numerics official

# ---- the same text, however it is computed
printf 'In the beginning' >prompt
generates --file prompt -n 20
same 'a prompt from a file' out by_default
generates -p 'In the beginning' -n 20 --threads 1 --chunk 3
same 'threads and chunks' out by_default
head -c 600 heldout >long
generates --file long -n 40 --chunk 256
cp out at_once
generates --file long -n 40 --chunk 17 --threads 3
same 'threads and chunks behind a long prompt' out at_once
draw=(generate --quiet --temperature 0.9 --top-p 0.95 --top-k 50 --min-p 0.01 -n 40 -p 'And the LORD said')
accepts "${draw[@]}" --seed 1
cp out drawn
accepts "${draw[@]}" --seed 1
same 'a seed gives the same text' out drawn
accepts "${draw[@]}" --seed 2
holds 'another seed gives another' fails cmp -s out drawn
generates -p 'In the beginning' -n 20 --temperature 1.5 --top-k 1
same 'the best of one is the most likely' out by_default
generates -p 'In the beginning' -n 40 --frequency-penalty 1 --presence-penalty 0.5 --repetition-penalty 1.2
cp out varied
generates -p 'In the beginning' -n 40
holds 'penalties change it' fails cmp -s out varied

# ---- where it ends
generates -p 'In the beginning' -n 64 --numerics exact --stop 'of the LORD' --json s.json
has_json s.json ' ' text
has_json s.json stop end
generates -p 'In the beginning' -n 64 --context 20 --json s.json
has_json s.json 'context is full' end
generates -p 'In the beginning' -n 0 --json s.json
has_json s.json '[]' tokens
generates -p '' -n 2 --json s.json
has_json s.json '[0]' prompt_tokens
: >empty
generates --file empty -n 2 --json s.json
has_json s.json '[0]' prompt_tokens
printf 'In\0the' >zero
generates --file zero -n 2 --json s.json
has_json s.json '[0,43,80,191,259,71]' prompt_tokens

# ---- log-probabilities
generates -p 'In the beginning' -n 20 --logprobs 3 --json l.json
has_json l.json "$("$json_get" by_default.json tokens)" tokens
holds 'a line for each token' [ "$(wc -l <out)" = 20 ]
prints '^ +9 +271 +-[0-9.]+ " of" +271 '
has_json l.json 271 logprobs 0 id
has_json l.json 271 logprobs 0 best 0 id
has_json l.json "$("$json_get" l.json logprobs 0 logprob)" logprobs 0 best 0 logprob

# ---- what stderr has
run generate -p 'In the beginning' -n 20
same 'the same text' out by_default
holds 'the plan stands first' grep -qE '^memory: [0-9.]+ MiB: weights 3\.[0-9] MiB, 29 tokens of context [0-9.]+ KiB, steps [0-9.]+ MiB; free ' <(head -1 err)
holds 'numbers at the end' grep -qE '^prompt 9 tokens, [0-9.]+ tokens/s; generated 20 tokens, [0-9.]+ tokens/s; length$' <(tail -1 err)

# ---- a state
generates -p 'In the beginning' -n 10 --save-state state
cp out first
generates --load-state state -n 10
printf '%s%s\n' "$(cat first)" "$(cat out)" >both
same 'a state goes on' both by_default
generates -p 'In the beginning' -n 0 --save-state state
generates --load-state state -n 20
same 'a state of a prompt' out by_default
refuses "state: " generate --quiet --load-state state -n 4 --numerics bf16
goes_on() { # model, how the text is computed and drawn...
    local how=(-m "$1" --logprobs 2 "${@:2}")
    generates "${how[@]}" --file long -n 30 --json whole.json
    generates "${how[@]}" --file long -n 13 --json part1.json --save-state state
    generates "${how[@]}" --load-state state -n 17 --threads 1 --chunk 7 --json part2.json
    for key in tokens logprobs; do
        holds "$key of both parts are those of the whole" [ "$("$json_get" whole.json $key)" = \
            "$(printf '%s,%s' "$("$json_get" part1.json $key)" "$("$json_get" part2.json $key)" | sed 's/\],\[/,/')" ]
    done
    has_json whole.json length end
}
for numerics in official w8a8; do
    goes_on "$english" --numerics $numerics
    goes_on "$random" --numerics $numerics --temperature 1 --seed 3 --repetition-penalty 1.1
    goes_on "$random" --numerics $numerics --speculate
done
refuses "state: " generate --quiet --load-state state -m "$english"
printf 'nothing of the kind' >state
refuses "state: " generate --quiet --load-state state -n 4
refuses 'none: cannot read' generate --load-state none

# ---- drafts
if [ -d "$random" ]; then
    for numerics in w8a8 official exact; do
        for how in '--temperature 0' '--temperature 1 --seed 4 --top-p 0.9'; do
            # shellcheck disable=SC2086
            generates -m "$random" -p 'one two three four' -n 60 $how --numerics $numerics --json plain.json
            # shellcheck disable=SC2086
            generates -m "$random" -p 'one two three four' -n 60 $how --numerics $numerics --speculate --chunk 5 --json drafts.json
            has_json drafts.json "$("$json_get" plain.json tokens)" tokens
            holds 'drafts were made' [ "$("$json_get" drafts.json drafts made)" -gt 10 ]
        done
    done
fi
refuses 'tiny-english: has no block that drafts a token' generate -p x --speculate

# ---- a chat
cat >chat.json <<'END'
{"messages": [{"role": "user", "content": "Who made the heaven?"}]}
END
generates --chat chat.json -n 8 --json c.json
holds 'a chat has a prompt' [ "$("$json_get" c.json prompt_tokens | tr , '\n' | wc -l)" -gt 5 ]
has_json c.json 0 prompt_tokens 0
printf '{"messages": 3}' >bad.json
refuses 'bad\.json: ' generate --chat bad.json
printf '{"messages": [' >bad.json
refuses 'bad\.json: line 1, column 14: no valid JSON' generate --chat bad.json
printf 'Who made the heaven?\n/help\nAnd the earth?\n/quit\nno more\n' >lines
generates --interactive -n 8 --json i.json <lines
prints '^/reset '
has_json i.json user messages 2 role
has_json i.json 'And the earth?' messages 2 content
has_json i.json assistant messages 3 role
holds 'nothing behind /quit' fails "$json_get" i.json messages 4 2>err
printf '/reset\n/nonsense\n' | "$program" generate --interactive --quiet >out 2>err
complains 'got "/nonsense", expected /help, /reset, /quit or a text'

talk() { # lines: a printf format
    # shellcheck disable=SC2059
    printf "$1" >lines
    run generate --interactive --quiet -n 4 --json i.json <lines
    [ "$status" = 2 ] || holds 'the chat ends well' [ "$status" = 0 ]
}
talk 'Who?\nAnd he?\n'
cp i.json two_turns.json
talk 'Who?\nAnd\0he?\n\n\xff\xfe\n%2500d\n/reset now\nAnd he?'
same 'lines that are refused leave no trace' i.json two_turns.json
for why in 'got a line with a zero byte, ignored' 'the line is not UTF-8' \
    'the chat has 25[0-9][0-9] tokens with that, expected at most 2048, the context: /reset forgets it' 'got "/reset now", expected'; do
    holds "stderr has: $why" grep -qE "^dsv4: $why" err
done
head -c 1048576 /dev/zero | tr '\0' 'a' | "$program" generate --interactive --quiet >out 2>err
complains 'got a line of a megabyte or more, ignored'
talk "$(for ((i = 0; i < 120; i++)); do printf 'And it came to pass in the days of the king\\n'; done)" # up to the context's end
has_json i.json assistant messages 61 role
holds 'nothing of what did not fit' fails "$json_get" i.json messages 230 2>out
holds 'turns at the end are refused' [ "$(sort -u err)" = "$(tail -1 err)" ]
run generate --interactive --quiet <.
exits 2
complains 'stdin: cannot read$'
run generate --interactive --quiet <&-
exits 0

# ---- a pipe that is closed, a disk that is full
status=0
"$program" generate -p 'In the beginning' -n 2000 --quiet 2>err | head -c 1 >out || status=$?
exits 2
complains 'stdout: cannot write'
for how in '-p x -n 2000' '-p x -n 2000 --logprobs 2' '--interactive -n 2000'; do
    status=0
    # shellcheck disable=SC2086
    { "$program" generate --quiet $how <lines 2>err || echo $? >code; } | head -c 1 >out
    holds 'a pipe that is closed ends it' [ "$(cat code)" = 2 ]
    complains 'stdout: cannot write the text$'
    # shellcheck disable=SC2086
    "$program" generate --quiet $how <lines >/dev/full 2>err || status=$?
    exits 2
    complains 'stdout: cannot write the text$'
done

# ---- what cannot be
refuses 'got 0 of -p, --file, --chat, --interactive, --perplexity, expected one' generate
refuses 'got 2 of -p' generate -p x --file prompt
refuses 'got "x", expected options alone' generate x
refuses 'option -m needs a value' generate -m
refuses 'nothing/config\.json: cannot open' generate -m nothing -p x
refuses '--model: got "", expected a folder' generate -m '' -p x
refuses 'got --think and --no-think, expected one' generate --chat chat.json --think --no-think
refuses -- '--think is not for --prompt' generate -p x --think
refuses -- '--speculate is not for --perplexity' generate --perplexity heldout --speculate
refuses -- '--stop: got "", expected a text' generate -p x --stop ''
refuses 'byte 1 is not UTF-8' generate -p $'x\xff'
refuses "numerics: got 'fp2'" generate -p x --numerics fp2
refuses 'prompt: got 9 tokens, expected at most 5' generate -p 'In the beginning' --context 5
head -c 1000000 /dev/zero | tr '\0' 'a' >endless
refuses 'prompt: got 1000001 tokens, expected at most 2048, the context' generate --file endless
refuses 'none: ' generate --file none
refuses 'empty: is empty' generate --perplexity empty
mkdir folder
echo text >old
for option in --save-state --json; do
    refuses 'nothing/state: cannot write: No such file or directory' generate --quiet -p x -n 100000 $option nothing/state
    refuses 'folder: cannot write: Is a directory' generate --quiet -p x -n 100000 $option folder
    refuses 'prompt: got 2 tokens, expected at most 1' generate --quiet -p x --context 1 $option old
    holds 'what was there stays until there is more' [ "$(cat old)" = text ]
done
refuses 'repetition: got 0, expected 0\.01 to 100' generate -p x --repetition-penalty 0
for bad in '--temperature -1' '--temperature nan' '--top-p 1.5' '--top-k -1' '--min-p 2' '--repetition-penalty x' '-n -1' \
    '--threads 0' '--chunk 1' '--context 0' '--logprobs 101' '--seed -1' '--presence-penalty 101'; do
    # shellcheck disable=SC2086
    refuses 'got "[^"]*", expected a (whole )?number from' generate -p x $bad
done
finish
