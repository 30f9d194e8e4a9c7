/* text/tokenizer_read.c - tokenizer.json, checked. Members that cannot change ids or text are not looked at: version, the
 * post-processor's and decoder's offsets, whether an added token is normalized where nothing is. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/tokenizer_parts.h"

typedef struct reader {
    const char *source;
    tokenizer *t;
    json_t *vocab;
    dsv4_error *err;
} reader;

static dsv4_status fail(const reader *r, const char *where, const char *what)
{
    return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: %s: %s", r->source, where, what);
}

static dsv4_status refuse(const reader *r, const char *where, const char *what)
{
    return dsv4_fail(r->err, DSV4_E_UNSUPPORTED, "%.200s: %s: %s is not supported", r->source, where, what);
}

static dsv4_status no_memory(const reader *r)
{
    return dsv4_fail(r->err, DSV4_E_NO_MEMORY, "%.200s: no memory for the tokenizer", r->source);
}

/* The text of a member, "" if it has none. */
static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static bool is_set(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL && !json_is_null(value);
}

/* ---- tokens --------------------------------------------------------------------------------------------------------------- */

/* The byte that a character of the byte-level alphabet stands for: printable ones for themselves, the others for those from U+0100
 * on, in order. -1 for another character, which *text then is not moved over. */
static int alphabet_byte(const unsigned char **text)
{
    const unsigned char *p = *text;
    int c = p[0] < 0x80 ? p[0] : p[0] >= 0xc2 && p[0] < 0xe0 ? (p[0] & 0x1f) << 6 | (p[1] & 0x3f) : -1;
    bool printable = (c >= 33 && c <= 126) || (c >= 161 && c <= 255 && c != 173);
    int n_low = 33, n_middle = 34; /* 0..32; 127..160; then 173 */
    int byte = printable                     ? c
               : c < 256                     ? -1
               : c < 256 + n_low             ? c - 256
               : c < 256 + n_low + n_middle  ? c - 256 - n_low + 127
               : c == 256 + n_low + n_middle ? 173
                                             : -1;
    *text += byte < 0 ? 0 : p[0] < 0x80 ? 1 : 2;
    return byte;
}

/* Sets the token of an id: the bytes that the text stands for, or the text itself where it is `raw` or has other characters. */
static dsv4_status set_token(const reader *r, int32_t id, const char *text, size_t n, bool raw)
{
    char *bytes = arena_alloc(&r->t->memory, n + 1);
    if (bytes == NULL) {
        return no_memory(r);
    }
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    size_t n_bytes = 0;
    while (!raw && p < end) {
        int byte = alphabet_byte(&p);
        if (byte < 0) {
            break;
        }
        bytes[n_bytes++] = (char)byte;
    }
    if (p < end) {
        memcpy(bytes, text, n);
        n_bytes = n;
    } else if (n_bytes == 1) {
        r->t->merges.of_byte[(unsigned char)bytes[0]] = id;
    }
    bytes[n_bytes] = '\0';
    r->t->tokens[id] = (tokenizer_token){bytes, (uint32_t)n_bytes, false};
    r->t->longest = n_bytes > r->t->longest ? n_bytes : r->t->longest;
    return DSV4_OK;
}

/* An integer from 0 to TOKENIZER_MAX_IDS - 1, or -1. */
static int32_t id_of(const json_t *value)
{
    json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
    return id >= 0 && id < TOKENIZER_MAX_IDS ? (int32_t)id : -1;
}

/* Room for every id; a message for one that is none. */
static dsv4_status make_ids(reader *r, const json_t *added)
{
    tokenizer *t = r->t;
    int32_t largest = -1;
    for (void *i = json_object_iter(r->vocab); i != NULL; i = json_object_iter_next(r->vocab, i)) {
        int32_t id = id_of(json_object_iter_value(i));
        if (id < 0) {
            return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: model.vocab: token \"%.60s\": expected an integer id below %d",
                             r->source, json_object_iter_key(i), (int)TOKENIZER_MAX_IDS);
        }
        largest = id > largest ? id : largest;
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        int32_t id = id_of(json_object_get(json_array_get(added, i), "id"));
        if (id < 0) {
            return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: added_tokens[%zu].id: expected an integer below %d", r->source, i,
                             (int)TOKENIZER_MAX_IDS);
        }
        largest = id > largest ? id : largest;
    }
    t->n_ids = largest + 1;
    t->tokens = arena_alloc(&t->memory, (size_t)t->n_ids * sizeof *t->tokens);
    t->merges.first = arena_alloc(&t->memory, ((size_t)t->n_ids + 1) * sizeof *t->merges.first);
    return t->tokens != NULL && t->merges.first != NULL ? DSV4_OK : no_memory(r);
}

static dsv4_status read_vocab(reader *r)
{
    json_t *vocab = r->vocab;
    memset(r->t->merges.of_byte, 0xff, sizeof r->t->merges.of_byte);
    for (void *i = json_object_iter(vocab); i != NULL; i = json_object_iter_next(vocab, i)) {
        const char *text = json_object_iter_key(i);
        int32_t id = id_of(json_object_iter_value(i));
        size_t n = strlen(text);
        if (n == 0 || n > TOKENIZER_MAX_TOKEN_BYTES || r->t->tokens[id].bytes != NULL) {
            return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: model.vocab: token \"%.60s\" %s", r->source, text,
                             n == 0                          ? "is empty"
                             : n > TOKENIZER_MAX_TOKEN_BYTES ? "is too long"
                                                             : "has the id of another");
        }
        dsv4_status status = set_token(r, id, text, n, false);
        if (status != DSV4_OK) {
            return status;
        }
    }
    for (int byte = 0; byte < 256; byte++) {
        if (r->t->merges.of_byte[byte] < 0) {
            return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: model.vocab: no token for byte 0x%02x", r->source, (unsigned)byte);
        }
    }
    return DSV4_OK;
}

/* ---- added tokens ------------------------------------------------------------------------------------------------------------ */

static dsv4_status read_added_token(reader *r, size_t i, const json_t *object)
{
    static const char *const unsupported[] = {"single_word", "lstrip", "rstrip"};
    char where[64];
    snprintf(where, sizeof where, "added_tokens[%zu]", i);
    const json_t *content = json_object_get(object, "content");
    size_t n = json_string_length(content);
    int32_t id = id_of(json_object_get(object, "id"));
    if (n == 0 || n > TOKENIZER_MAX_ADDED_BYTES) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: %s.content: expected a text of 1 to %d bytes", r->source, where,
                         (int)TOKENIZER_MAX_ADDED_BYTES);
    }
    for (size_t k = 0; k < sizeof unsupported / sizeof *unsupported; k++) {
        if (json_is_true(json_object_get(object, unsupported[k]))) {
            return refuse(r, where, unsupported[k]);
        }
    }
    const char *text = json_string_value(content);
    const json_t *in_vocab = json_object_get(r->vocab, text);
    if (in_vocab != NULL ? id_of(in_vocab) != id : r->t->tokens[id].bytes != NULL) {
        return fail(r, where, "its id is that of another token, or model.vocab has it under another id");
    }
    dsv4_status status = set_token(r, id, text, n, true);
    r->t->tokens[id].is_special = json_is_true(json_object_get(object, "special"));
    r->t->added[r->t->n_added++] = (tokenizer_added){r->t->tokens[id].bytes, n, id};
    r->t->begins_added[(unsigned char)text[0]] = true;
    return status;
}

static int compare_added(const void *a, const void *b)
{
    const tokenizer_added *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes);
    return order != 0 ? order : (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static dsv4_status read_added(reader *r, const json_t *added)
{
    tokenizer *t = r->t;
    size_t n = json_array_size(added);
    dsv4_status status = DSV4_OK;
    t->added = arena_alloc(&t->memory, n * sizeof *t->added);
    if (t->added == NULL) {
        return no_memory(r);
    }
    for (size_t i = 0; i < n && status == DSV4_OK; i++) {
        status = read_added_token(r, i, json_array_get(added, i));
    }
    if (status != DSV4_OK) {
        return status;
    }
    qsort(t->added, n, sizeof *t->added, compare_added);
    for (size_t i = 1; i < n; i++) {
        if (compare_added(&t->added[i - 1], &t->added[i]) == 0) {
            return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: added_tokens: \"%.60s\" is there twice", r->source, t->added[i].bytes);
        }
    }
    return DSV4_OK;
}

/* ---- merges ------------------------------------------------------------------------------------------------------------------ */

enum { MERGE_BYTES = 2 * TOKENIZER_MAX_TOKEN_BYTES + 2 };

/* The two tokens of "left right" or ["left", "right"], in text (MERGE_BYTES), which *right points into; false if it is neither. */
static bool merge_texts(const json_t *merge, char *text, char **right)
{
    const char *left = json_string_value(json_is_array(merge) ? json_array_get(merge, 0) : merge);
    const char *second = json_is_array(merge) ? json_string_value(json_array_get(merge, 1)) : NULL;
    if (left == NULL || strlen(left) + (second != NULL ? strlen(second) : 0) + 2 > MERGE_BYTES ||
        (json_is_array(merge) && (second == NULL || json_array_size(merge) != 2))) {
        return false;
    }
    strcpy(text, left);
    char *gap = strchr(text, ' ');
    if (second != NULL) {
        gap = text + strlen(text);
        strcpy(gap + 1, second);
    } else if (gap == NULL || strchr(gap + 1, ' ') != NULL) {
        return false;
    }
    *gap = '\0';
    *right = gap + 1;
    return true;
}

static dsv4_status read_merge(const reader *r, size_t rank, const json_t *merge, char *text)
{
    char *right = NULL;
    if (!merge_texts(merge, text, &right)) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: model.merges[%zu]: expected two tokens", r->source, rank);
    }
    const json_t *left_id = json_object_get(r->vocab, text), *right_id = json_object_get(r->vocab, right);
    memmove(right - 1, right, strlen(right) + 1);
    const json_t *joined_id = json_object_get(r->vocab, text);
    if (left_id == NULL || right_id == NULL || joined_id == NULL) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: model.merges[%zu]: model.vocab lacks a part or the whole of \"%.60s\"",
                         r->source, rank, text);
    }
    r->t->merges.pairs[rank] = (merge_pair){id_of(left_id), id_of(right_id), id_of(joined_id), (uint32_t)rank};
    return DSV4_OK;
}

static dsv4_status read_merges(const reader *r, const json_t *merges)
{
    merge_table *m = &r->t->merges;
    char *text = malloc(MERGE_BYTES);
    uint32_t twice = 0;
    dsv4_status status = DSV4_OK;
    m->n = json_array_size(merges);
    m->pairs = arena_alloc(&r->t->memory, m->n * sizeof *m->pairs);
    if (text == NULL || m->pairs == NULL) {
        status = no_memory(r);
    }
    for (size_t i = 0; i < m->n && status == DSV4_OK; i++) {
        status = read_merge(r, i, json_array_get(merges, i), text);
    }
    free(text);
    if (status == DSV4_OK && !merge_table_sort(m, r->t->n_ids, &twice)) {
        status = dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: model.merges[%u]: the pair is there before", r->source, (unsigned)twice);
    }
    return status;
}

/* ---- the sections ------------------------------------------------------------------------------------------------------------ */

static dsv4_status read_model(reader *r, const json_t *model, const json_t *added)
{
    const json_t *merges = json_object_get(model, "merges");
    if (strcmp(text_of(model, "type"), "BPE") != 0) {
        return refuse(r, "model.type", "anything but \"BPE\"");
    }
    if (json_is_true(json_object_get(model, "ignore_merges")) || json_number_value(json_object_get(model, "dropout")) != 0.0) {
        return refuse(r, "model", "ignore_merges or dropout");
    }
    if (text_of(model, "continuing_subword_prefix")[0] != '\0' || text_of(model, "end_of_word_suffix")[0] != '\0') {
        return refuse(r, "model", "continuing_subword_prefix or end_of_word_suffix");
    }
    if (!json_is_object(r->vocab) || !json_is_array(merges)) {
        return fail(r, "model", "expected an object vocab and an array merges");
    }
    dsv4_status status = make_ids(r, added);
    status = status == DSV4_OK ? read_vocab(r) : status;
    status = status == DSV4_OK ? read_merges(r, merges) : status;
    return status == DSV4_OK ? read_added(r, added) : status;
}

static dsv4_status read_split(const reader *r, const char *where, const json_t *split)
{
    const char *pattern = json_string_value(json_object_get(json_object_get(split, "pattern"), "Regex"));
    if (strcmp(text_of(split, "behavior"), "Isolated") != 0 || json_is_true(json_object_get(split, "invert"))) {
        return refuse(r, where, "a Split that is not Isolated, or inverted,");
    }
    if (pattern == NULL) {
        return refuse(r, where, "a Split without pattern.Regex");
    }
    return splitter_add(&r->t->split, r->source, pattern, r->err);
}

/* The last of a sequence turns bytes into characters, those before it split. */
static dsv4_status read_pre_tokenizer(const reader *r, const json_t *step, const char *where, bool is_last)
{
    const char *type = text_of(step, "type");
    if (strcmp(type, "Split") == 0 && !is_last) {
        return read_split(r, where, step);
    }
    if (strcmp(type, "ByteLevel") != 0 || !is_last) {
        return refuse(r, where, "anything but Split ... Split, ByteLevel");
    }
    if (!json_is_false(json_object_get(step, "add_prefix_space")) || !json_is_false(json_object_get(step, "use_regex"))) {
        return refuse(r, where, "ByteLevel with add_prefix_space or use_regex");
    }
    return DSV4_OK;
}

static dsv4_status read_pre_tokenizers(const reader *r, const json_t *pre)
{
    const json_t *steps = json_object_get(pre, "pretokenizers");
    size_t n = json_array_size(steps);
    dsv4_status status = DSV4_OK;
    if (strcmp(text_of(pre, "type"), "Sequence") != 0) {
        return read_pre_tokenizer(r, pre, "pre_tokenizer", true);
    }
    if (n == 0) {
        return fail(r, "pre_tokenizer.pretokenizers", "expected an array that is not empty");
    }
    for (size_t i = 0; i < n && status == DSV4_OK; i++) {
        char where[64];
        snprintf(where, sizeof where, "pre_tokenizer.pretokenizers[%zu]", i);
        status = read_pre_tokenizer(r, json_array_get(steps, i), where, i + 1 == n);
    }
    return status;
}

/* What stands around the model: nothing that changes text or adds ids. */
static dsv4_status check_surroundings(const reader *r, const json_t *root)
{
    const json_t *normalizer = json_object_get(root, "normalizer");
    bool normalizes = is_set(root, "normalizer") && !(strcmp(text_of(normalizer, "type"), "Sequence") == 0 &&
                                                      json_array_size(json_object_get(normalizer, "normalizers")) == 0);
    if (normalizes) {
        return refuse(r, "normalizer", "a normalizer");
    }
    if (is_set(root, "truncation") || is_set(root, "padding")) {
        return refuse(r, "truncation, padding", "either");
    }
    if (is_set(root, "post_processor") && strcmp(text_of(json_object_get(root, "post_processor"), "type"), "ByteLevel") != 0) {
        return refuse(r, "post_processor", "anything but ByteLevel");
    }
    if (strcmp(text_of(json_object_get(root, "decoder"), "type"), "ByteLevel") != 0) {
        return refuse(r, "decoder", "anything but ByteLevel");
    }
    return DSV4_OK;
}

static dsv4_status read_root(reader *r, const json_t *root)
{
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    if (!json_is_object(model)) {
        return fail(r, "no tokenizer.json", "expected an object with a member model");
    }
    if (added != NULL && !json_is_array(added)) {
        return fail(r, "added_tokens", "expected an array");
    }
    r->vocab = json_object_get(model, "vocab");
    dsv4_status status = check_surroundings(r, root);
    status = status == DSV4_OK ? read_pre_tokenizers(r, json_object_get(root, "pre_tokenizer")) : status;
    return status == DSV4_OK ? read_model(r, model, added) : status;
}

dsv4_status tokenizer_parse(const char *source, const char *json, size_t n_bytes, tokenizer **out, dsv4_error *err)
{
    if (n_bytes > TOKENIZER_MAX_FILE_BYTES) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: more than %d bytes", source, (int)TOKENIZER_MAX_FILE_BYTES);
    }
    json_error_t at;
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &at);
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: no valid JSON: line %d, column %d: %s", source, at.line, at.column, at.text);
    }
    reader r = {.source = source, .t = calloc(1, sizeof *r.t), .err = err};
    dsv4_status status = r.t == NULL ? no_memory(&r) : read_root(&r, root);
    json_decref(root);
    if (status != DSV4_OK) {
        tokenizer_free(r.t);
        return status;
    }
    *out = r.t;
    return DSV4_OK;
}

dsv4_status tokenizer_read(const char *path, tokenizer **out, dsv4_error *err)
{
    char *text = NULL;
    size_t n = 0;
    dsv4_status status = file_read(path, TOKENIZER_MAX_FILE_BYTES, &text, &n, err);
    status = status == DSV4_OK ? tokenizer_parse(path, text, n, out, err) : status;
    free(text);
    return status;
}
