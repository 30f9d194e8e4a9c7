#!/usr/bin/env bash
# usage: test_ablate.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `ablate`: every variant agrees with its reference, launches are those of the techniques, errors are in the order of their scales.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

value() { # key...
    "$json_get" a.json "$@"
}

# The number of the study, variant or figure of that name in a list.
number_of() { # name, key...
    local i=0
    while [ "$(value "${@:2}" $i name 2>/dev/null)" != "$1" ]; do
        i=$((i + 1))
        [ $i -lt 64 ] || return 1
    done
    echo $i
}

launches() { # study, variant, launches
    local s
    s=$(number_of "$1" studies)
    holds "$1 $2 has $3 launches" [ "$(value studies "$s" variants "$(number_of "$2" studies "$s" variants)" launches)" = "$3" ]
}

less() { # number, number
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }'
}

accepts ablate --preset tiny --rounds 2 --json a.json --markdown a.md
prints_nothing_like '^  FAIL'
for study in alias norm tiling groups scatter; do
    prints "^$study: "
    s=$(number_of $study studies)
    holds "$study names its device" [ "$(value studies "$s" device)" = a2a3 ]
    holds "$study has a headline" [ "$(value studies "$s" series 0 headline)" = true ]
    for number in machine_s device_s published; do
        holds "$study: $number" less 0 "$(value studies "$s" series 0 rows 0 $number)"
    done
    holds "$study: ratios are to the first row" [ "$(value studies "$s" series 0 rows 0 device_ratio)" = 1.0 ]
    holds "$study is in the Markdown" grep -q "^## $study\$" a.md
done

# ---- launches: 16 tokens one by one or in fours; sums of squares in two stages twice; two pairs of stages fused
launches alias before 105
launches alias after 37
launches norm before 19
launches norm after 21
launches tiling before 9
launches tiling unfused 9
launches tiling after 7

# ---- what the techniques are about
s=$(number_of alias studies)
holds 'a chain through one tensor takes longer than blocks apart' \
    less "$(value studies "$s" series 0 rows 5 device_s)" "$(value studies "$s" series 0 rows 0 device_s)"
s=$(number_of tiling studies)
n32=$(value studies "$s" series 3 rows 0 moved_bytes)
holds 'runs of 64 bytes move more than runs of 256' less "$(value studies "$s" series 3 rows 3 moved_bytes)" "$n32"
s=$(number_of groups studies)
row=$(value studies "$s" figures 0 value)
holds 'a scale for a group errs less than one for a row' less "$(value studies "$s" figures 1 value)" "$row"
holds 'both err by less than 2 %' less "$row" 2

# ---- one study; other threads, other inputs
accepts ablate tiling --preset tiny --rounds 1 --threads 3 --seed 7
prints '^  PASS after '
prints_nothing_like '^(  FAIL|groups: )'

# ---- what is wrong
accepts ablate --help
prints '^usage: dsv4 ablate '
refuses 'ablate: got "nothing", expected at most one of alias, norm, tiling, groups, scatter' ablate nothing
refuses 'ablate: got "alias", expected at most one of' ablate norm alias
refuses '--preset: got "pro", expected flash or tiny' ablate --preset pro
refuses '--rounds: got "0"' ablate --rounds 0
refuses 'nowhere' ablate tiling --preset tiny --rounds 1 --device nowhere
refuses '--markdown: got "-", expected a file' ablate --markdown -
finish
