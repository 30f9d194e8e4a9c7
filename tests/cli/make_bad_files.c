/* usage: make_bad_files FOLDER
 * Writes small vector files into FOLDER: good.safetensors, an RMS normalisation whose values are all 1, and files that each differ
 * from it in one thing; the same for the tables of the rotary embedding. Knows the format from its description alone.
 *
 * In the texts below ' stands for " and ` for the escaped \" of a text within a text. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- headers ----------------------------------------------------------------------------------------------------------- */

#define FIELDS_BUT_HIDDEN                                                                                                     \
    "`num_attention_heads`:2,`head_dim`:4,`qk_rope_head_dim`:4,`q_lora_rank`:4,`o_lora_rank`:4,`o_groups`:1,"                 \
    "`sliding_window`:4,`index_n_heads`:2,`index_head_dim`:4,`index_topk`:2,`hc_mult`:1,`hc_sinkhorn_iters`:2,"               \
    "`hc_eps`:1e-6,`max_position_embeddings`:4,"                                                                              \
    "`original_max_position_embeddings`:4,`rms_norm_eps`:1e-6,`rope_theta`:1e4,`compress_rope_theta`:1.6e5,`rope_factor`:16," \
    "`beta_fast`:32,`beta_slow`:1"
#define CONFIG(hidden) "'config':'{`hidden_size`:" hidden "," FIELDS_BUT_HIDDEN "}'"
#define METADATA(kernel, config) "'__metadata__':{'kernel':'" kernel "'," config "}"
#define TENSOR(name, dtype, shape, begin, end) \
    "'" name "':{'dtype':'" dtype "','shape':" shape ",'data_offsets':[" begin "," end "]}"

#define META METADATA("rmsnorm", CONFIG("8"))
#define NORM_W TENSOR("in.norm_w", "BF16", "[8]", "0", "16")
#define X TENSOR("in.x", "BF16", "[2,8]", "16", "48")
#define OUT TENSOR("out.x_normed", "BF16", "[2,8]", "48", "80")

#define ROPE_META METADATA("rope_tables", CONFIG("8"))
#define RATIO TENSOR("in.compress_ratio", "I32", "[]", "0", "4")
#define MAX_SEQ TENSOR("in.max_seq_len", "I32", "[]", "4", "8")
#define COS TENSOR("out.freqs_cos", "BF16", "[1,4]", "8", "16")

#define JOIN(a, b, c, d) "{" a "," b "," c "," d "}"

/* ---- files ------------------------------------------------------------------------------------------------------------- */

enum { DATA_BYTES = 80, MAX_FILE_BYTES = 8192 };

typedef struct bad_file {
    const char *name, *header;
    size_t data_bytes;          /* 0: DATA_BYTES */
    size_t changed_at;          /* element of 2 bytes that is not 1.0 */
    uint16_t change;            /* its bits; 0: none differs */
    uint64_t header_bytes;      /* what the file says; 0: the truth */
    uint32_t ratio_and_rows[2]; /* rope tables: the first 8 bytes of the data */
} bad_file;

static const bad_file files[] = {
    {.name = "good", .header = JOIN(META, NORM_W, X, OUT)},
    {.name = "differs", .header = JOIN(META, NORM_W, X, OUT), .changed_at = 24 + 11, .change = 0x4000},
    {.name = "infinite", .header = JOIN(META, NORM_W, X, OUT), .changed_at = 8 + 3, .change = 0x7f80},
    {.name = "out_only_other", .header = JOIN(META, NORM_W, X, TENSOR("out.other", "BF16", "[2,8]", "48", "80"))},
    {.name = "out_none", .header = "{" META "," NORM_W "," X "}", .data_bytes = 48},
    {.name = "out_shape", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[8,2]", "48", "80"))},
    {.name = "out_nan", .header = JOIN(META, NORM_W, X, OUT), .changed_at = 24 + 5, .change = 0x7fc0},

    /* ---- inputs */
    {.name = "in_missing", .header = JOIN(META, NORM_W, TENSOR("in.y", "BF16", "[2,8]", "16", "48"), OUT)},
    {.name = "in_shape", .header = JOIN(META, NORM_W, TENSOR("in.x", "BF16", "[4,4]", "16", "48"), OUT)},
    {.name = "in_rank", .header = JOIN(META, NORM_W, TENSOR("in.x", "BF16", "[16]", "16", "48"), OUT)},
    {.name = "in_dtype", .header = JOIN(META, NORM_W, TENSOR("in.x", "F32", "[1,8]", "16", "48"), OUT)},
    {.name = "in_f16", .header = JOIN(META, NORM_W, TENSOR("in.x", "F16", "[2,8]", "16", "48"), OUT)},
    {.name = "in_nan", .header = JOIN(META, NORM_W, X, OUT), .changed_at = 8 + 9, .change = 0xffc1},
    {.name = "in_no_rows",
     .header = JOIN(META, NORM_W, TENSOR("in.x", "BF16", "[0,8]", "16", "16"), TENSOR("out.x_normed", "BF16", "[0,8]", "16", "16")),
     .data_bytes = 16},

    /* ---- metadata */
    {.name = "no_metadata", .header = "{" NORM_W "," X "," OUT "}"},
    {.name = "no_kernel", .header = JOIN("'__metadata__':{" CONFIG("8") "}", NORM_W, X, OUT)},
    {.name = "no_config", .header = JOIN("'__metadata__':{'kernel':'rmsnorm'}", NORM_W, X, OUT)},
    {.name = "kernel_unknown", .header = JOIN(METADATA("decode_nonsense", CONFIG("8")), NORM_W, X, OUT)},
    {.name = "compat_unknown", .header = JOIN(METADATA("rmsnorm", "'compat':'newest'," CONFIG("8")), NORM_W, X, OUT)},
    {.name = "act_scale_unknown", .header = JOIN(METADATA("rmsnorm", "'act_scale':''," CONFIG("8")), NORM_W, X, OUT)},
    {.name = "correct_by_row",
     .header = JOIN(METADATA("rmsnorm", "'compat':'correct','act_scale':'row'," CONFIG("8")), NORM_W, X, OUT)},
    {.name = "config_garbage", .header = JOIN(METADATA("rmsnorm", "'config':'garbage'"), NORM_W, X, OUT)},
    {.name = "config_empty", .header = JOIN(METADATA("rmsnorm", "'config':''"), NORM_W, X, OUT)},
    {.name = "config_array", .header = JOIN(METADATA("rmsnorm", "'config':'[]'"), NORM_W, X, OUT)},
    {.name = "config_field_missing", .header = JOIN(METADATA("rmsnorm", "'config':'{" FIELDS_BUT_HIDDEN "}'"), NORM_W, X, OUT)},
    {.name = "config_negative", .header = JOIN(METADATA("rmsnorm", CONFIG("-8")), NORM_W, X, OUT)},
    {.name = "config_zero", .header = JOIN(METADATA("rmsnorm", CONFIG("0")), NORM_W, X, OUT)},
    {.name = "config_huge", .header = JOIN(METADATA("rmsnorm", CONFIG("99999999999999999999")), NORM_W, X, OUT)},
    {.name = "config_real", .header = JOIN(METADATA("rmsnorm", CONFIG("8.5")), NORM_W, X, OUT)},
    {.name = "config_text", .header = JOIN(METADATA("rmsnorm", CONFIG("`8`")), NORM_W, X, OUT)},
    {.name = "config_other", .header = JOIN(METADATA("rmsnorm", CONFIG("16")), NORM_W, X, OUT)},
    {.name = "metadata_number", .header = JOIN("'__metadata__':{'kernel':7}", NORM_W, X, OUT)},
    {.name = "metadata_array", .header = JOIN("'__metadata__':[]", NORM_W, X, OUT)},

    /* ---- the file's own structure */
    {.name = "truncated", .header = JOIN(META, NORM_W, X, OUT), .data_bytes = 79},
    {.name = "oversized", .header = JOIN(META, NORM_W, X, OUT), .data_bytes = 81},
    {.name = "overlap", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "46", "78")), .data_bytes = 78},
    {.name = "same_bytes", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "16", "48")), .data_bytes = 48},
    {.name = "gap", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "50", "82")), .data_bytes = 82},
    {.name = "offset_negative", .header = JOIN(META, TENSOR("in.norm_w", "BF16", "[8]", "-16", "0"), X, OUT)},
    {.name = "offset_reversed", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "80", "48"))},
    {.name = "offset_beyond", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "4048", "4080"))},
    {.name = "offset_overflow",
     .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "9223372036854775776", "9223372036854775808"))},
    {.name = "offset_real", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "48.0", "80.0"))},
    {.name = "offset_three", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,8]", "48,80", "80"))},
    {.name = "shape_too_long", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[2,9]", "48", "80"))},
    {.name = "shape_negative", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[-2,-8]", "48", "80"))},
    {.name = "shape_overflow",
     .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[4294967296,4294967296]", "48", "80"))},
    {.name = "shape_wraps", /* 2^59 * 2^5 elements are 0 modulo 2^64 */
     .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[576460752303423488,32]", "48", "48")),
     .data_bytes = 48},
    {.name = "shape_rank", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "[1,1,1,1,1,1,1,2,8]", "48", "80"))},
    {.name = "shape_text", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "BF16", "'2x8'", "48", "80"))},
    {.name = "dtype_unknown", .header = JOIN(META, NORM_W, X, TENSOR("out.x_normed", "COMPLEX", "[2,8]", "48", "80"))},
    {.name = "dtype_missing", .header = JOIN(META, NORM_W, X, "'out.x_normed':{'shape':[2,8],'data_offsets':[48,80]}")},
    {.name = "tensor_number", .header = JOIN(META, NORM_W, X, "'out.x_normed':80")},
    {.name = "name_twice", .header = JOIN(META, NORM_W, X, TENSOR("in.x", "BF16", "[2,8]", "48", "80"))},
    {.name = "name_empty", .header = JOIN(META, NORM_W, X, TENSOR("", "BF16", "[2,8]", "48", "80"))},
    {.name = "name_with_newline", .header = JOIN(META, NORM_W, X, TENSOR("a\\nPASS\\u001b[2J", "BF16", "[2,9]", "48", "80"))},
    {.name = "name_with_nul", .header = JOIN(META, NORM_W, X, TENSOR("in.x\\u0000", "BF16", "[2,8]", "48", "80"))},
    {.name = "name_not_utf8", .header = JOIN(META, NORM_W, X, TENSOR("out.\xff\xfe", "BF16", "[2,8]", "48", "80"))},
    {.name = "header_not_json", .header = "{'in.x' no json"},
    {.name = "header_cut", .header = "{" META "," NORM_W "," X ","},
    {.name = "header_array", .header = "[1, 2, 3]"},
    {.name = "header_empty_object", .header = "{}"},
    {.name = "header_beyond_file", .header = JOIN(META, NORM_W, X, OUT), .header_bytes = 1 << 20},
    {.name = "header_over_limit", .header = JOIN(META, NORM_W, X, OUT), .header_bytes = (uint64_t)1 << 40},
    {.name = "header_all_ones", .header = JOIN(META, NORM_W, X, OUT), .header_bytes = UINT64_MAX},
    {.name = "header_minus_eight", .header = JOIN(META, NORM_W, X, OUT), .header_bytes = UINT64_MAX - 7},

    /* ---- scalars that ask for sizes */
    {.name = "rope_good", .header = JOIN(ROPE_META, RATIO, MAX_SEQ, COS), .data_bytes = 16, .ratio_and_rows = {0, 1}},
    {.name = "rope_no_rows", .header = JOIN(ROPE_META, RATIO, MAX_SEQ, COS), .data_bytes = 16, .ratio_and_rows = {0, 0}},
    {.name = "rope_negative", .header = JOIN(ROPE_META, RATIO, MAX_SEQ, COS), .data_bytes = 16, .ratio_and_rows = {0, UINT32_MAX}},
    {.name = "rope_huge", .header = JOIN(ROPE_META, RATIO, MAX_SEQ, COS), .data_bytes = 16, .ratio_and_rows = {0, INT32_MAX}},
    {.name = "rope_huge_without_out",
     .header = "{" ROPE_META "," RATIO "," MAX_SEQ "}",
     .data_bytes = 8,
     .ratio_and_rows = {0, INT32_MAX}},
    {.name = "rope_ratio_negative",
     .header = JOIN(ROPE_META, RATIO, MAX_SEQ, COS),
     .data_bytes = 16,
     .ratio_and_rows = {UINT32_MAX, 1}},
};

/* ---- writing ----------------------------------------------------------------------------------------------------------- */

/* The header as JSON; returns its bytes. */
static size_t expand(const char *text, char *out)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        if (*text == '`') {
            out[n++] = '\\';
        }
        out[n++] = *text == '\'' || *text == '`' ? '"' : *text;
    }
    return n;
}

static void fill_data(const bad_file *file, unsigned char *data, size_t n_bytes)
{
    static const unsigned char one[] = {0x80, 0x3f}; /* 1.0 as BF16 */
    for (size_t i = 0; i < n_bytes; i++) {
        data[i] = one[i % 2];
    }
    if (file->change != 0) {
        memcpy(data + 2 * file->changed_at, &file->change, sizeof file->change);
    }
    if (strncmp(file->name, "rope_", 5) == 0) {
        memcpy(data, file->ratio_and_rows, sizeof file->ratio_and_rows);
    }
}

static void write_bytes(const char *folder, const char *name, const void *bytes, size_t n_bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(bytes, 1, n_bytes, f) != n_bytes || fclose(f) != 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
}

static void write_file(const char *folder, const bad_file *file)
{
    static unsigned char bytes[MAX_FILE_BYTES];
    uint64_t n_header = expand(file->header, (char *)bytes + sizeof n_header);
    uint64_t stated = file->header_bytes != 0 ? file->header_bytes : n_header;
    size_t n_data = file->data_bytes != 0 ? file->data_bytes : DATA_BYTES;
    memcpy(bytes, &stated, sizeof stated);
    fill_data(file, bytes + sizeof n_header + n_header, n_data);
    write_bytes(folder, file->name, bytes, sizeof n_header + n_header + n_data);
}

/* Brackets nested deeper than any stack would bear if each took a call. */
static void write_nested(const char *folder)
{
    enum { DEPTH = 1 << 20 };
    char *bytes = malloc(sizeof(uint64_t) + DEPTH);
    uint64_t n_header = DEPTH;
    if (bytes == NULL) {
        exit(EXIT_FAILURE);
    }
    memcpy(bytes, &n_header, sizeof n_header);
    memset(bytes + sizeof n_header, '[', DEPTH);
    memcpy(bytes + sizeof n_header, "{\"a\":", 5);
    write_bytes(folder, "header_nested", bytes, sizeof n_header + DEPTH);
    free(bytes);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: make_bad_files FOLDER\n");
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_file(argv[1], &files[i]);
    }
    write_nested(argv[1]);
    write_bytes(argv[1], "empty", "", 0);
    write_bytes(argv[1], "seven_bytes", "\2\0\0\0\0\0\0", 7);
    write_bytes(argv[1], "header_of_nothing", "\0\0\0\0\0\0\0\0", 8);
    return EXIT_SUCCESS;
}
