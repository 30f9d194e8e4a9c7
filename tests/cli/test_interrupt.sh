#!/usr/bin/env bash
# usage: test_interrupt.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# Ctrl-C: a command ends soon, by the signal, and what it leaves is whole or goes on.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
english=$vectors/../../models/tiny-english

# Starts the program; when something holds, sends SIGINT. A signal that comes before the program listens is ignored here, as of all
# that a script runs in the background: another follows.
interrupts() { # what holds then, argument...
    command="dsv4 ${*:2}"
    rm -f out err
    status=0
    "$program" "${@:2}" >out 2>err &
    local pid=$! tries
    for ((tries = 0; tries < 1000; tries++)); do
        ! "$1" 2>/dev/null || break
        sleep 0.01
    done
    for ((tries = 0; tries < 400; tries++)); do
        [ $((tries % 40)) != 0 ] || kill -INT $pid 2>/dev/null || break
        kill -0 $pid 2>/dev/null || break
        sleep 0.05
    done
    wait $pid || status=$?
    exits 130
}

has_stdout() {
    [ -s out ]
}

has_stderr() {
    [ -s err ]
}

writes_made() {
    [ -n "$(find made -type f)" ]
}

writes_packed() {
    [ -s packed/weights.dsv4.part ]
}

writes_much() {
    [ "$(du -sk packed | cut -f1)" -gt $((size / 4)) ]
}

holds_whole() {
    [ "$(find packed -type f -printf '%f\n' | sort | tr '\n' ' ')" = 'config.json weights.dsv4 ' ]
}

# ---- a model that takes a while
accepts synth small --layers 2
cp "$english/tokenizer.json" small
accepts synth large --layers 8 --experts 256
size=$(du -sk large | cut -f1)

# ---- generate
head -c 300000 /dev/zero | tr '\0' 'a' >endless
interrupts has_stderr generate -m small --file endless --chunk 2 -n 5 --json prefill.json
has_json prefill.json interrupted end
has_json prefill.json '[]' tokens
interrupts has_stdout generate -m small --quiet -p x -n 200000 --json decode.json --save-state state
has_json decode.json interrupted end
holds 'the text so far is there' [ "$("$json_get" decode.json text)" = "$(cat out)" ]
n=$("$json_get" decode.json tokens | tr , '\n' | wc -l)
accepts generate -m small --quiet -p x -n $((n + 8)) --json whole.json
accepts generate -m small --quiet --load-state state -n 9 --json rest.json
holds 'a state goes on behind the last token but one' [ "$("$json_get" whole.json tokens | tr -d '[]' | cut -d, -f"$n"-)" = \
    "$("$json_get" rest.json tokens | tr -d '[]')" ]
interrupts has_stderr generate -m small --perplexity endless --chunk 2 --context 300000

# ---- a chat: the answer ends, and the chat goes on
command='dsv4 generate --interactive' status=0
rm -f out
mkfifo lines
"$program" generate -m small --interactive --quiet -n 200000 --context 300000 --json chat.json <lines >out 2>err &
talking=$!
exec 3>lines
echo 'Who made the heaven?' >&3
for ((tries = 0; tries < 1000; tries++)); do
    ! has_stdout 2>/dev/null || break
    sleep 0.01
done
kill -INT $talking
printf '/help\n/quit\n' >&3
exec 3>&-
wait $talking || status=$?
exits 0
prints '^/help '
has_json chat.json assistant messages 1 role

# ---- synth: nothing is left
interrupts writes_made synth made --layers 64 --experts 512
complains 'made: interrupted, nothing is left of it'
holds 'the folder is gone' [ ! -e made ]
mkdir made
interrupts writes_made synth made --layers 64 --experts 512
holds 'the folder is empty' [ -z "$(ls -A made)" ]

# ---- convert: goes on
interrupts writes_much convert large packed
complains 'packed: interrupted: [0-9]+ of [0-9]+ weights are done, the same command goes on$'
holds 'some were done' grep -qv 'interrupted: 0 of' err
holds 'nothing has its last name' [ "$(ls packed)" = weights.dsv4.part ]
refuses 'packed: its conversion was not finished: dsv4 convert goes on with it' generate -m packed -p x
refuses 'packed: its conversion was not finished: dsv4 convert goes on with it' inspect packed
: >packed/config.json.0123abcd.tmp # of a program that was ended while it copied
accepts convert large packed --verify
prints 'of them are from an earlier conversion that was stopped$'
holds 'nothing else is there' holds_whole
accepts convert large at_once
holds 'the same bytes as without a break' cmp packed/weights.dsv4 at_once/weights.dsv4

interrupts writes_packed convert large packed --numerics official --restart
complains 'packed: interrupted, the weights that were there stay$'
holds 'nothing else is there' holds_whole
: >packed/weights.dsv4.part # of a program that was ended
: >packed/config.json.0123abcd.tmp
accepts convert large packed
prints 'nothing to do'
holds 'what was left is gone' holds_whole
finish
