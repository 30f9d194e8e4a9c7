#!/usr/bin/env bash
# usage: test_damage.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# Models that are damaged, foreign, or made to deceive: every command that reads one says in one line what is wrong, does not wait, and
# leaves all as it was.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
english=$vectors/../../models/tiny-english
index=model.safetensors.index.json
shard=model-00002-of-00002.safetensors

copy() { # of
    rm -rf copy
    cp -r "$1" copy
    chmod -R u+w copy
}

# A file that cannot be taken for what it should be.
spoil() { # how, file
    case $1 in
    missing) rm "$2" ;;
    folder) rm "$2" && mkdir "$2" ;;
    pipe) rm "$2" && mkfifo "$2" ;;
    loop) rm "$2" && ln -s "$(basename "$2")" "$2" ;;
    empty) : >"$2" ;;
    cut) truncate -s 100 "$2" ;;
    long) truncate -s 3G "$2" ;;
    noise) seq 1 40000 | tr '\n' '\377' >"$2" ;;
    nested) { printf '{"weight_map": ' && head -c 1000000 /dev/zero | tr '\0' '['; } >"$2" ;;
    twice) sed -i '0,/"[a-z]*"\(: *\)/s//"a"\1{}, "a"\1{}, &/' "$2" ;;
    esac
}
hows='missing folder pipe loop empty cut long noise nested'

# Every command refuses the copy; nothing is made.
refused() { # pattern
    run inspect copy
    if [ "$status" = 1 ]; then # a checkpoint with something missing: told on stdout
        holds "stdout has: $1" grep -qE -- "^  (missing|wrong|unexpected) .*$1" out
    else
        exits 2
        complains "$1"
    fi
    refuses "$1" convert copy made
    holds 'nothing was made' [ ! -e made ]
    refuses "$1" generate --quiet -m copy -p x -n 1
    refuses "$1" generate --quiet -m copy -p x -n 1 --numerics official
}

# ---- published folders
for how in $hows; do
    copy "$english"
    spoil "$how" copy/$shard
    refused "$shard: "
    copy "$english"
    spoil "$how" copy/config.json
    refused 'copy/config\.json: '
    copy "$english"
    spoil "$how" copy/$index
    refused "copy/$index: "
    copy "$english"
    spoil "$how" copy/tokenizer.json
    refuses 'copy/tokenizer\.json: ' generate --quiet -m copy -p x -n 1
    refuses 'copy/tokenizer\.json: ' tokenize -m copy -p x
done
for how in folder pipe loop long; do # what cannot be copied is told before the weights are converted
    copy "$english"
    spoil $how copy/tokenizer.json
    refuses 'copy/tokenizer\.json: ' convert copy made
    holds 'nothing was made' [ ! -e made ]
done
for name in config.json $index tokenizer.json; do
    copy "$english"
    spoil twice copy/"$name"
    holds 'a key stands there twice' grep -q '"a": *{}, "a"' copy/"$name"
    refuses "copy/$name: .*(duplicate|twice)" generate --quiet -m copy -p x -n 1
done
rm -rf copy
ln -s copy copy
refused 'copy/config\.json: cannot open: Too many levels'
rm copy
mkfifo copy
refused 'copy/config\.json: cannot open: Not a directory'
rm copy

# ---- numbers of the configuration
names=(hidden_size vocab_size num_hidden_layers n_routed_experts max_position_embeddings sliding_window)
i=0
for number in 0 -1 1.5 1e400 NaN 99999999999999999999 9223372036854775807 null true '"128"' '[128]' '{"a": 1}'; do
    copy "$english"
    sed -i "s/\"${names[i % 6]}\": [0-9]*/\"${names[i % 6]}\": $number/" copy/config.json
    refused 'config\.json: '
    i=$((i + 1))
done
copy "$english"
sed -i 's/"vocab_size": 512/"vocab_size": 1024/' copy/config.json
refused "tensor '[a-z0-9_.]*' is .*expected "

# ---- headers of shards
changed() { # from, to of the same length, pattern
    copy "$english"
    sed -i "0,/$1/s//$2/" copy/$shard
    holds 'something was changed' fails cmp -s copy/$shard "$english/$shard"
    refused "$shard: .*$3"
}
changed '"dtype":"F32"' '"dtype":"F16"' "tensor 'hc_head_base': data_offsets span"
changed '"dtype":"F32"' '"dtype":"I32"' "tensor 'hc_head_base' is I32 \[4\], expected F32 \[4\]"
changed '"dtype":"F32"' '"dtype":"X32"' "tensor 'hc_head_base': dtype 'X32' unknown"
changed '\[4,512\]' '\[512,4\]' "tensor 'hc_head_fn' is F32 \[512, 4\], expected F32 \[4, 512\]"
changed '\[0,16\]' '\[-1,9\]' "tensor 'hc_head_base': data_offsets \[-1, 9\)"
changed '"shape":\[4\]' '"shape":4  ' "tensor 'hc_head_base': shape is an integer"
changed 'hc_head_base' 'hc_head_\\u00' 'header byte'
changed 'hc_head_base' 'hc_head_fn","' 'header byte'
copy "$english"
printf '\377\377\377\377\377\377\377\377' | dd of=copy/$shard conv=notrunc status=none
refused "$shard: header of 18446744073709551615 bytes"

# ---- values
copy "$english"
size=$(stat -c %s copy/$shard)
head -c 1000000 /dev/zero | tr '\0' '\377' | dd of=copy/$shard bs=1M seek=$((size - 1000000)) oflag=seek_bytes conv=notrunc status=none
run inspect copy --values
exits 1
prints "^  wrong +$shard: tensor 'layers\.[^']*': element [0-9]+ is nan, expected a (number|scale)"
refuses 'copy: layers\.[^ ]*: .*(code 255|no number|not finite)' generate --quiet -m copy -p x -n 1
refuses 'copy: layers\.[^ ]*: .*(code 255|no number|not finite)' convert copy made
holds 'no weights are there' [ ! -e made/weights.dsv4 ]
rm -r made

# ---- packed folders
accepts convert "$english" packed
packed_size=$(stat -c %s packed/weights.dsv4)
packed_refused() { # pattern; --restart replaces it where it is ours
    refuses "$1" inspect copy
    refuses "$1" inspect copy --values
    refuses "$1" generate --quiet -m copy -p x -n 1
    refuses 'copy' convert "$english" copy
}
byte() { # place: changes a bit there
    local old
    old=$(od -An -tu1 -j "$1" -N 1 copy/weights.dsv4)
    # shellcheck disable=SC2059
    printf "\\$(printf %o $((old ^ 1)))" | dd of=copy/weights.dsv4 bs=1 seek="$1" conv=notrunc status=none
}
for how in folder pipe empty cut; do
    copy packed
    spoil $how copy/weights.dsv4
    packed_refused 'copy/weights\.dsv4: '
done
for how in missing loop; do
    copy packed
    spoil $how copy/weights.dsv4
    packed_refused "copy/$index: cannot open"
done
for how in $hows; do
    copy packed
    spoil "$how" copy/config.json
    refuses 'copy/config\.json: ' inspect copy
    refuses 'copy/config\.json: ' generate --quiet -m copy -p x -n 1
done
copy packed
truncate -s $((packed_size - 1)) copy/weights.dsv4
packed_refused "got $((packed_size - 1)) bytes, expected $packed_size by its header"
for place in 0 8 16 24 32 40 44 48 52 60 64 700 5000; do
    copy packed
    byte $place
    packed_refused 'weights\.dsv4: (is no file of packed weights|got version [0-9]+, expected 2|its header is )'
done
accepts convert "$english" copy --restart
copy packed
byte $((packed_size - 1))
refuses "weights\.dsv4: 'head' is damaged: checksum" inspect copy --values
copy packed
refuses 'copy: is packed for the numerics w8a8' generate --quiet -m copy -p x -n 1 --numerics official
sed -i 's/"vocab_size": 512/"vocab_size": 100000/' copy/config.json
refuses 'config\.json: is not the one that weights\.dsv4 was packed with: convert the model again' inspect copy
refuses 'config\.json: is not the one that weights\.dsv4 was packed with' generate --quiet -m copy -p x -n 1 --logprobs 100
accepts convert "$english" copy # puts it right
prints 'nothing to do'
holds 'all is as it was' diff -r packed copy

# ---- saved texts
accepts generate --quiet -p x -n 1 --save-state state
for how in $hows; do
    cp state damaged
    spoil "$how" damaged
    refuses 'damaged: ' generate --quiet --load-state damaged -n 1
    rm -rf damaged
done
for place in 0 8 12 100 300 2000; do
    cp state damaged
    printf '\125' | dd of=damaged bs=1 seek=$place conv=notrunc status=none
    refuses 'damaged: ' generate --quiet --load-state damaged -n 1
done

# ---- a disk that is full, as a limit on the size of files
limited() { # argument...
    command="dsv4 $*"
    status=0
    (
        ulimit -f 800
        "$program" "$@"
    ) >out 2>err || status=$?
    exits 2
    complains 'cannot (write|size): '
}
limited convert "$english" made
holds 'only a part is there' [ "$(find made -type f)" = made/weights.dsv4.part ]
accepts convert "$english" made --verify
rm -r made
limited synth made
holds 'nothing was made' [ ! -e made ]
head -c 1800 /dev/zero | tr '\0' 'a' >text
limited generate --quiet --file text -n 1 --save-state made
holds 'nothing was made' [ -z "$(find . -name 'made*')" ]
finish
