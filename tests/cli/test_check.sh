#!/usr/bin/env bash
# usage: test_check.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `dsv4 check`: files that agree, files that differ, files that cannot be used; alone and together.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"
"$make_bad_files" .

# A file that cannot be checked: one line with its name and the reason, no verdict on any output.
bad() { # file, pattern
    run check "$1.safetensors"
    exits 2
    complains "$1\.safetensors: .*$2"
    prints '^checked 1: 0 pass, 0 mismatch, 1 bad$'
    prints_nothing_like 'PASS|FAIL|SKIP'
}

# ---- agrees
accepts check good.safetensors
prints '^good\.safetensors  rmsnorm, threads [0-9]+$'
prints '^  PASS x_normed +0 of 16 over tolerance \(0 allowed\), all equal$'
prints '^checked 1: 1 pass, 0 mismatch, 0 bad$'
accepts check rope_good.safetensors
prints '^  PASS freqs_cos '
prints '^  SKIP freqs_sin '
for option in '--threads 1' '--threads 3' '--deps stage' '--deps tensor' '--verify' '--set t_tile=1' '--numerics w8a8'; do
    # shellcheck disable=SC2086
    accepts check good.safetensors $option
    prints '^  PASS x_normed '
done
accepts check --verify good.safetensors
prints 'declarations verified'

# ---- which numerics: the options', else the file's, else the reference implementation's
accepts check correct_by_row.safetensors
prints ' rmsnorm, threads [0-9]+, compat correct, act-scale row$'
accepts check correct_by_row.safetensors --compat reference
prints ' rmsnorm, threads [0-9]+, act-scale row$'
accepts check correct_by_row.safetensors --act-scale group
prints ' rmsnorm, threads [0-9]+, compat correct$'
accepts check good.safetensors --compat correct --act-scale block
prints ' rmsnorm, threads [0-9]+, compat correct, act-scale block$'

# ---- differs
run check differs.safetensors
exits 1
prints '^  FAIL x_normed +1 of 16 over .*worst error 1 at \[1, 3\]: got 1, expected 2; tolerance \|a-e\| <= '
prints '^checked 1: 0 pass, 1 mismatch, 0 bad$'
run check infinite.safetensors
exits 1
prints '^  FAIL x_normed +8 of 16 over '

# ---- what cannot be read
bad missing 'cannot open'
mkdir folder.safetensors
bad folder 'not a regular file'
mkfifo pipe.safetensors
bad pipe 'not a regular file'
bad empty '0 bytes'
bad seven_bytes '7 bytes'
bad header_of_nothing 'not a JSON object'
bad header_not_json 'header byte'
bad header_cut 'header byte'
bad header_array 'not a JSON object'
bad header_empty_object 'belong to no tensor'
bad header_nested 'depth'
bad header_beyond_file '1048576 bytes, but only'
bad header_over_limit '1099511627776 bytes, at most'
bad header_all_ones '18446744073709551615 bytes, at most'
bad header_minus_eight '18446744073709551608 bytes, at most'
bad truncated "'out.x_normed': .*\[48, 80\) not within the 79 data bytes"
bad oversized '\[80, 81\) .* belong to no tensor'
bad overlap "'out.x_normed' \[46, 78\) overlaps tensor 'in.x' \[16, 48\)"
bad same_bytes "'out.x_normed' \[16, 48\) overlaps tensor 'in.x'"
bad gap "\[48, 50\) before tensor 'out.x_normed' belong to no tensor"
bad offset_negative "'in.norm_w': .*\[-16, 0\)"
bad offset_reversed "'out.x_normed': .*\[80, 48\)"
bad offset_beyond "'out.x_normed': .*\[4048, 4080\) not within the 80 data bytes"
bad offset_overflow '9223372036854775808'
bad offset_real "'out.x_normed': .*expected integers"
bad offset_three "'out.x_normed': .*expected an array of 2"
bad shape_too_long "'out.x_normed': .*32 bytes.* 36"
bad shape_negative "'out.x_normed': shape\[0\] is -2"
bad shape_overflow "'out.x_normed': .*overflows"
bad shape_wraps "'out.x_normed': .*overflows"
bad shape_rank "'out.x_normed': 9 dimensions"
bad shape_text "'out.x_normed': .*expected an array"
bad dtype_unknown "'out.x_normed': dtype 'COMPLEX' unknown, expected one of .*BF16"
bad dtype_missing "'out.x_normed': dtype"
bad tensor_number "'out.x_normed' .*expected an object"
bad name_twice 'duplicate'
bad name_empty 'empty name'
bad name_with_newline 'PASS'
bad name_with_nul 'NUL'
bad name_not_utf8 'header byte'

# ---- metadata
bad no_metadata 'no "kernel"'
bad no_kernel 'no "kernel"'
bad no_config 'no "config"'
bad kernel_unknown 'got "decode_nonsense", expected one of .*rmsnorm'
bad compat_unknown 'compat: got "newest", expected reference or correct'
bad act_scale_unknown 'act_scale: got "", expected group, row or block'
bad metadata_number '__metadata__'
bad metadata_array '__metadata__'
bad config_garbage 'config'
bad config_empty 'config'
bad config_array 'config'
bad config_field_missing 'hidden_size is missing, expected'
bad config_negative 'hidden_size is -8, expected'
bad config_zero 'hidden_size is 0, expected'
bad config_huge '99999999999999999999'
bad config_real 'hidden_size .*8\.5, expected'
bad config_text 'hidden_size .*expected'
bad config_other 'tensor x: got BF16 \[2, 8\], expected BF16 \[2, 16\]'

# ---- tensors
bad in_missing 'input x is missing, expected BF16 \[T,D\]'
bad in_shape 'tensor x: got BF16 \[4, 4\], expected BF16 \[4, 8\]'
bad in_rank 'tensor x: got BF16 \[16\], expected'
bad in_dtype 'tensor x: got F32 \[1, 8\], expected BF16'
bad in_f16 'tensor x: got F16 \[2, 8\], expected BF16'
bad in_nan "'in.x': element 9 is NaN"
bad in_no_rows 'T .*0, expected at least 1'
bad out_none 'rmsnorm computes none of its out\.\* tensors'
bad out_only_other 'rmsnorm computes none of its out\.\* tensors'
bad out_shape 'out\.x_normed: got \[8, 2\], expected \[2, 8\]'
bad out_nan "'out.x_normed': element 5 is NaN"
bad rope_no_rows 'max_seq_len'
bad rope_negative 'max_seq_len: got -1'
bad rope_huge 'out\.freqs_cos: got \[1, 4\], expected \[2147483647, 4\]'
bad rope_huge_without_out 'computes none of its out'
bad rope_ratio_negative 'compress_ratio: got -1'

# ---- options that do not fit the file
run check good.safetensors --set head_group=2
exits 2
complains 'good\.safetensors: .*head_group.* is unknown, expected one of t_tile'
refuses 'numerics: "official" is not available' check good.safetensors --numerics official

# ---- several files: a bad one does not keep the others from being checked
run check good.safetensors truncated.safetensors differs.safetensors rope_good.safetensors
exits 2
complains 'truncated\.safetensors: '
prints '^good\.safetensors  rmsnorm'
prints '^rope_good\.safetensors  rope_tables'
prints '^  FAIL x_normed '
prints '^checked 4: 2 pass, 1 mismatch, 1 bad$'
run check good.safetensors differs.safetensors
exits 1
prints '^checked 2: 1 pass, 1 mismatch, 0 bad$'
run check good.safetensors -- --verify
exits 2
complains '--verify: cannot open'

# ---- state: updated in place, compared where the file expects it; a refused step changes nothing and is told in one line
indexer=$vectors/decode_indexer_pos34.safetensors
accepts check "$indexer"
prints '^  PASS topk_idxs '
prints '^  PASS idx_kv_cache '
prints '^  SKIP inner_compress_state +nothing to compare with$'
accepts check "$indexer" --verify
"$change_file" "$indexer" refused.safetensors in.idx_block_table 0 999
for way in '' --verify; do
    # shellcheck disable=SC2086
    run check refused.safetensors $way
    exits 2
    complains 'refused\.safetensors: .*idx_block_table.*999'
    prints_nothing_like 'PASS|FAIL'
done
"$change_file" "$indexer" late.safetensors in.position_ids 0 -1
run check late.safetensors "$indexer"
exits 2
complains 'late\.safetensors: .*position_ids.*-1'
prints '^checked 2: 1 pass, 0 mismatch, 1 bad$'

# ---- lists of chosen rows: judged by the scores they point at; without scores by their order alone
"$change_file" "$indexer" other_choice.safetensors out.topk_idxs 7 16
run check other_choice.safetensors
exits 1
prints '^  FAIL topk_idxs .*tolerance scores descend and are those of e '
"$change_file" other_choice.safetensors no_scores.safetensors out.score
accepts check no_scores.safetensors
prints '^  SKIP score '
prints '^  PASS topk_idxs '

# ---- a prefill chunk that is not full: only the rows of valid tokens are compared
chunk=$vectors/prefill_attention_swa_pos16_n13.safetensors
accepts check "$chunk"
prints '^  PASS x_out +[0-9]+ of 13312 over ' # 13 tokens of 4 streams of 256
"$change_file" "$chunk" derived.safetensors in.ori_slot_mapping
accepts check derived.safetensors
prints '^  PASS x_out '
"$change_file" "$vectors/prefill_attention_hca_pos112.safetensors" all_valid.safetensors in.num_tokens
accepts check all_valid.safetensors
prints '^  PASS x_out +[0-9]+ of 16384 over '
"$change_file" "$chunk" nowhere.safetensors in.position_ids
bad nowhere 'input position_ids is missing'

# ---- the reference's vectors, with every instruction set
for isa in scalar avx2 avx2vnni avx512 avx512bf16; do
    export DSV4_ISA=$isa
    run check "$vectors"/*.safetensors
    if [ $status = 2 ] && grep -q "DSV4_ISA '$isa': " err; then
        printf 'skipped: %s\n' "$(tail -n 1 err)"
        continue
    fi
    exits 0
    prints ' 0 mismatch, 0 bad$'
    prints_nothing_like 'FAIL'
done

finish
