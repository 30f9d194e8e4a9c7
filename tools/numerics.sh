#!/usr/bin/env bash
# usage: tools/numerics.sh PROGRAM [FOLDER] >docs/NUMERICS.md
# Writes what each numerics of a whole model costs and how fast it is: perplexity of models/tiny-english on its held-out text beside
# the reference's, how closely the logits of tests/model/data/tiny-random follow the reference's, tokens per second, also of another
# model's folder if one is given. Fails where dsv4 generate takes another default than the table says.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] && [ $# -le 2 ] || { sed -n 2p "$0" >&2 && exit 2; }
program=$(realpath "$1") folder=${2-}
tests=$(dirname "$program")/tests
expected=tests/model/data/tiny-english/expected.json
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

value() { # file, key...
    "$tests/json_get" "$@"
}

printf '%s' "$(value $expected heldout_text)" >"$work/heldout"
head -c 600 "$work/heldout" >"$work/short"
"$tests/test_model_engine" >"$work/agreement" 2>&1 || { cat "$work/agreement" >&2 && exit 1; }

agreement() { # numerics, what: "0.0835, 183"
    sed -n "s/^.*$1: $2: rms relative \([^,]*\), top-1 equal \([0-9]*\) of .*/\1, \2/p" "$work/agreement" | head -1
}

# The best of some runs: other programs can only slow one down.
speed() { # file, repeats, tokens, argument...: "decode prefill"
    for _ in $(seq "$2"); do
        "$program" generate --quiet --file "$1" -n "$3" "${@:4}" --json "$work/run.json" >/dev/null
        printf '%s %s\n' "$(value "$work/run.json" decode tokens_per_s)" "$(value "$work/run.json" prefill tokens_per_s)"
    done | awk '$1 > d { d = $1 } $2 > p { p = $2 } END { printf "%.4g %.4g", d, p }'
}

for numerics in official w8a8 bf16 exact quant_f32; do
    "$program" generate --quiet -m models/tiny-english --perplexity "$work/heldout" --context 256 --numerics $numerics \
        --json "$work/p.json" >/dev/null
    reference=- own=-
    if [ $numerics != w8a8 ]; then
        reference=$(value $expected perplexity $numerics perplexity)
        own=$(agreement $numerics 'at once')
    fi
    from_exact=$own
    [ $numerics = exact ] || from_exact=$(agreement $numerics 'against exact')
    larger='- -'
    [ -z "$folder" ] || larger=$(speed "$work/short" 2 16 -m "$folder" --numerics $numerics)
    printf '%s;%s;%s;%s;%s;%s;%s\n' $numerics "$(value "$work/p.json" perplexity)" "$reference" "$own" "$from_exact" \
        "$(speed "$work/heldout" 5 200 -m models/tiny-english --numerics $numerics)" "$larger"
done >"$work/rows"

# The fastest that is no worse than official in both.
best=$(awk -F'[;, ]+' '
    { name = $1; perplexity = $2 }
    { n = split($0, part, ";"); split(part[5], from, ", "); split(part[6], rate, " ") }
    name == "official" { most = perplexity; rms = from[1] + 0; same = from[2] + 0 }
    perplexity <= most && from[1] + 0 <= rms && from[2] + 0 >= same && rate[1] + 0 > fastest { fastest = rate[1] + 0; best = name }
    END { print best }' "$work/rows")

larger_head='' larger_line=''
if [ -n "$folder" ]; then
    larger_head=' decode, larger | prefill, larger |' larger_line='--:|--:|'
fi
cat <<END
# Numerics
Made by \`make numerics\` (\`tools/numerics.sh\`); what each numerics rounds is in [MODEL.md](MODEL.md).

| numerics | perplexity | of the reference | RMS, top-1: itself | RMS, top-1: exact | decode | prefill |$larger_head
|---|--:|--:|--:|--:|--:|--:|$larger_line
END
awk -F';' -v larger="$folder" '
    { split($6, rate, " "); split($7, other, " ")
      own = $4 == "-" ? "" : $4; reference = $3 == "-" ? "" : sprintf("%.3f", $3)
      printf "| %s | %.3f | %s | %s | %s | %s | %s |", $1, $2, reference, own, $5, rate[1], rate[2]
      if (larger != "") printf " %s | %s |", other[1], other[2]
      printf "\n" }' "$work/rows"
cat <<END

- *Perplexity*: of \`models/tiny-english\` on its held-out text, 1024 tokens in segments of 256, and what the reference measured there.
  What lies less than 0.1 apart is no difference: it depends on how single values happen to be rounded.
- *RMS, top-1*: 200 rows of logits of \`tests/model/data/tiny-random\`: root mean square of the difference, relative, and in how many
  rows the same token is most likely; beside the reference in the same numerics (it has no w8a8), and beside the reference in exact
  arithmetic. The reference's own official is $(agreement reference 'official against exact') from its exact: random weights are the
  worst case.
- *Decode, prefill*: tokens per second of tiny-english behind a prompt of 1024 tokens, and in it; best of 5 on $(nproc) threads of
  $(lscpu | sed -n 's/^Model name: *//p' | head -1), commit $(git rev-parse --short HEAD), $(date -u +%F). A model of 3 MB lies in a
  cache, so this is the cost of arithmetic and of tasks, not of memory.
END
if [ -n "$folder" ]; then
    "$program" inspect "$folder" >"$work/inspected" || true
    echo "- *Larger*: behind and in a prompt of 256 tokens, best of 2;$(sed -n '1s/^[^:]*://p' "$work/inspected")."
fi
cat <<END

The default of \`dsv4 generate\` is the fastest in decode whose perplexity, RMS and top-1 beside exact are no worse than official's:
**$best**.
END
if ! "$program" generate --help | grep -q "^  --numerics .*(default $best)$"; then
    echo "tools/numerics.sh: dsv4 generate has another default than $best" >&2
    exit 1
fi
