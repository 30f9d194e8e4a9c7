#!/usr/bin/env bash
# usage: tools/bench_table.sh [--check]
# Writes a table of every file in bench/results/ between the markers of README.md; with --check, changes nothing and fails if the
# tables there are not those of the files.
set -euo pipefail
cd "$(dirname "$0")/.."
begin='<!-- bench: made by tools/bench_table.sh -->' end='<!-- /bench -->'
case "${1-}" in
'' | --check) ;;
*)
    echo "usage: tools/bench_table.sh [--check]" >&2
    exit 2
    ;;
esac

# A product a line, a number of rows a column: share of the bound. Then operators and layers, a number of tokens a column.
table() { # file.csv
    awk -F, -v svg="${1%.csv}.svg" '
        /^# / { split($0, pair, ": "); about[substr(pair[1], 3)] = pair[2]; next }
        $1 == "suite" { for (i = 1; i <= NF; i++) col[$i] = i; next }
        $1 == "ceilings" {
            if ($2 in ceiling) next
            ceiling[$2] = $col["gb_per_s"] $col["gop_per_s"]
        }
        $1 == "kernels" && $col["weights"] == "cold" {
            product = toupper($2) " " $col["shape"]; m = $col["rows"]
            by = $col["by"]
            if (!(product in seen)) { seen[product] = 1; products[++n_products] = product }
            if (!(m in seen_m)) { seen_m[m] = 1; rows[++n_rows] = m }
            share[product, m] = sprintf("%.0f %%", 100 * $col["of_bound"])
        }
        $1 == "ops" || $1 == "layer" {
            form = $col["shape"]; t = $col["rows"]
            sub(/^(decode|prefill) ?/, "", form)
            call = ($1 == "layer" ? "layer" : $2) " " form
            if (!(call in seen_call)) { seen_call[call] = 1; calls[++n_calls] = call }
            if (!(t in seen_t)) { seen_t[t] = 1; tokens[++n_tokens] = t }
            reached[call, t] = sprintf("%.0f %% (%.1f %%)", 100 * $col["of_bound"], 100 * $col["idle"])
        }
        END {
            printf "%s, %d threads, `%s`: ceilings %.1f GB/s read, %.0f GOP/s INT8, %.0f GFLOP/s BF16 ", about["cpu"],
                about["threads"], by, ceiling["read"], ceiling["i8"], ceiling["bf16"]
            printf "([roofline](%s), commit %s, %s, %s).\n\n", svg, about["commit"], about["compiler"], about["date"]
            printf "| weights, K x N | M = "
            for (j = 1; j <= n_rows; j++) printf "%s%d", (j > 1 ? " | " : ""), rows[j]
            printf " |\n|---|"
            for (j = 1; j <= n_rows; j++) printf "--:|"
            printf "\n"
            for (i = 1; i <= n_products; i++) {
                gsub(/x/, " x ", products[i]); line = products[i]; gsub(/ x /, "x", line)
                printf "| %s |", products[i]
                for (j = 1; j <= n_rows; j++) printf " %s |", share[line, rows[j]]
                printf "\n"
            }
            printf "\n| of the bound (idle) | T = "
            for (j = 1; j <= n_tokens; j++) printf "%s%d", (j > 1 ? " | " : ""), tokens[j]
            printf " |\n|---|"
            for (j = 1; j <= n_tokens; j++) printf "--:|"
            printf "\n"
            for (i = 1; i <= n_calls; i++) {
                printf "| %s |", calls[i]
                for (j = 1; j <= n_tokens; j++) printf " %s |", reached[calls[i], tokens[j]]
                printf "\n"
            }
        }' "$1"
}

made=$(mktemp)
trap 'rm -f "$made" "$made.readme"' EXIT
echo >"$made"
for file in bench/results/*.csv; do
    table "$file"
    echo
done >>"$made"
if [ "$(grep -cxF -e "$begin" -e "$end" README.md)" != 2 ]; then
    echo "README.md: no line '$begin' with a line '$end' behind it" >&2
    exit 1
fi
awk -v begin="$begin" -v end="$end" -v made="$made" '
    $0 == end { inside = 0 }
    !inside
    $0 == begin { inside = 1; while ((getline line <made) > 0) print line }' README.md >"$made.readme"
if [ "${1-}" = --check ]; then
    diff README.md "$made.readme"
else
    cat "$made.readme" >README.md
fi
