#!/usr/bin/env bash
# usage: tools/check_matrix.sh [WORD]... [-- OPTION...]
# Runs the attention layers of FLASH and PRO against their goldens at the positions where windows, rings and pages begin and end:
# decode of 1, 4 and 7 requests of 1 and 2 tokens, prefill of 1, 13, 128, 129 and 512 tokens. One line per case, counts at the end;
# exit 1 if a case did not pass. With words only the cases that have all of them in their name, such as "flash decode 4" or
# "pro T=13 start=8192". OPTIONs go to dsv4 run. Hours for all of it; DSV4 names another program than build/release/dsv4.
set -euo pipefail
cd "$(dirname "$0")/.."

dsv4=${DSV4:-build/release/dsv4}
words=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    words+=("$1")
    shift
done
[ $# -eq 0 ] || shift
options=("$@")
starts="0 1 2 3 4 5 63 64 127 128 4095 8192"
n_pass=0
n_mismatch=0
n_bad=0

wanted() { # name
    local word
    for word in ${words[@]+"${words[@]}"}; do
        [[ " $1 " == *" $word "* ]] || return 1
    done
}

check() { # preset mode ratio start batch seq name
    wanted "$7" || return 0
    local began=$SECONDS code=0 output
    output=$("$dsv4" run attention --preset "$1" --mode "$2" --compress-ratio "$3" --start-pos "$4" --batch "$5" --seq "$6" \
        ${options[@]+"${options[@]}"} 2>&1) || code=$?
    case $code in
    0) n_pass=$((n_pass + 1)) && echo "PASS $7 ($((SECONDS - began)) s)" ;;
    1) n_mismatch=$((n_mismatch + 1)) && echo "FAIL $7 ($((SECONDS - began)) s)" && grep -E '^ *FAIL' <<<"$output" ;;
    *) n_bad=$((n_bad + 1)) && echo "BAD  $7: exit $code: $(tail -n 1 <<<"$output")" ;;
    esac
}

for preset in flash pro; do
    for ratio in 0 4 128; do
        for start in $starts; do
            for batch in 1 4 7; do
                for seq in 1 2; do
                    check $preset decode $ratio "$start" $batch $seq "$preset decode $ratio B=$batch S=$seq start=$start"
                done
            done
            for tokens in 1 13 128 129 512; do
                check $preset prefill $ratio "$start" 1 $tokens "$preset prefill $ratio T=$tokens start=$start"
            done
        done
    done
done

n=$((n_pass + n_mismatch + n_bad))
echo "checked $n: $n_pass pass, $n_mismatch mismatch, $n_bad bad"
[ $n -gt 0 ] || {
    echo "tools/check_matrix.sh: no case has the words: ${words[*]}" >&2
    exit 2
}
[ $n_pass -eq $n ]
