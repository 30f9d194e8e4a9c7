/* cli/tokenize.c - `dsv4 tokenize`: the ids of a text, or the text of ids, token by token. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

enum { MAX_FILE_BYTES = 64 << 20 };

typedef struct tokenize_options {
    const char *model, *tokenizer, *prompt, *file, *decode;
} tokenize_options;

static const cli_option options_table[] = {
    {"m,model", "DIR", "the tokenizer.json of a model", cli_store_text, offsetof(tokenize_options, model), 0, 0},
    {"tokenizer", "FILE", "this tokenizer.json", cli_store_file, offsetof(tokenize_options, tokenizer), 0, 0},
    {"p,prompt", "TEXT", "the ids of a text", cli_store_text, offsetof(tokenize_options, prompt), 0, 0},
    {"file", "FILE", "the ids of the text of a file", cli_store_file, offsetof(tokenize_options, file), 0, 0},
    {"decode", "IDS", "the text of ids: \"5 7 11\" or \"5,7,11\"", cli_store_text, offsetof(tokenize_options, decode), 0, 0},
    {.name = NULL},
};

/* ---- output ---------------------------------------------------------------------------------------------------------------- */

/* Bytes in quotes: characters as they are, \xNN for control characters and for bytes that are no whole character. NULL without
 * memory; the caller frees it. */
static char *quote(const char *bytes, size_t n)
{
    char *quoted = malloc(4 * n + 3), *out = quoted;
    if (quoted == NULL) {
        return NULL;
    }
    *out++ = '"';
    for (size_t i = 0; i < n;) {
        utf8_kind kind;
        const size_t step = utf8_step(bytes + i, n - i, &kind);
        const unsigned char c = (unsigned char)bytes[i];
        if (kind == UTF8_CHARACTER && c >= 0x20 && c != 0x7f && c != '"' && c != '\\') {
            memcpy(out, bytes + i, step);
            out += step;
        } else {
            for (size_t k = 0; k < step; k++) {
                const unsigned char b = (unsigned char)bytes[i + k];
                out += b == '"' || b == '\\' ? sprintf(out, "\\%c", b)
                       : b == '\n'           ? sprintf(out, "\\n")
                                             : sprintf(out, "\\x%02x", b);
            }
        }
        i += step;
    }
    memcpy(out, "\"", 2);
    return quoted;
}

static void print_quoted(const char *before, const char *bytes, size_t n)
{
    char *quoted = quote(bytes, n);
    cli_print("%s%s\n", before, quoted != NULL ? quoted : "");
    free(quoted);
}

static void print_tokens(const tokenizer *t, const tokenizer_ids *ids, const char *text, size_t n_bytes)
{
    for (size_t i = 0; i < ids->n; i++) {
        char before[32];
        size_t n = 0;
        const char *bytes = tokenizer_bytes(t, ids->items[i], &n);
        snprintf(before, sizeof before, "%8d  ", (int)ids->items[i]);
        print_quoted(before, bytes, n);
    }
    print_quoted("text ", text, n_bytes);
    cli_print("%zu tokens, %zu bytes\n", ids->n, n_bytes);
}

/* A piece that is no whole character is in JSON what decoding gives for it alone: U+FFFD. */
static json_t *tokens_json(const tokenizer *t, const tokenizer_ids *ids, const char *text, size_t n_bytes)
{
    json_t *numbers = json_array(), *pieces = json_array();
    dsv4_error err = {0};
    for (size_t i = 0; i < ids->n; i++) {
        char *piece = NULL;
        size_t n = 0;
        if (tokenizer_decode(t, &ids->items[i], 1, false, &piece, &n, &err) == DSV4_OK) {
            json_array_append_new(pieces, json_stringn(piece, n));
        }
        json_array_append_new(numbers, json_integer(ids->items[i]));
        free(piece);
    }
    return json_pack("{s:o, s:o, s:o}", "ids", numbers, "pieces", pieces, "text", json_stringn(text, n_bytes));
}

/* ---- input ----------------------------------------------------------------------------------------------------------------- */

static dsv4_status read_tokenizer(const tokenize_options *o, tokenizer **t, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    if ((o->model == NULL) == (o->tokenizer == NULL)) {
        return dsv4_fail(err, DSV4_E_USAGE, "tokenize: expected one of --model and --tokenizer");
    }
    if (o->tokenizer != NULL) {
        return tokenizer_read(o->tokenizer, t, err);
    }
    const int n = snprintf(path, sizeof path, "%s/tokenizer.json", o->model);
    if (n < 0 || (size_t)n >= sizeof path) {
        return dsv4_fail(err, DSV4_E_IO, "%.200s: the path is too long", o->model);
    }
    return tokenizer_read(path, t, err);
}

/* Numbers between commas and spaces. */
static dsv4_status parse_ids(const char *text, tokenizer_ids *ids, dsv4_error *err)
{
    const size_t room = strlen(text) / 2 + 1;
    ids->items = malloc(room * sizeof *ids->items);
    if (ids->items == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "--decode: no memory for the ids");
    }
    ids->size = room;
    for (const char *at = text + strspn(text, ", \t\n"); *at != '\0'; at += strspn(at, ", \t\n")) {
        char *end;
        errno = 0;
        const long id = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : -1;
        if (id < 0 || errno != 0 || id >= TOKENIZER_MAX_IDS || (*end != '\0' && strchr(", \t\n", *end) == NULL)) {
            return dsv4_fail(err, DSV4_E_USAGE, "--decode: got \"%.40s\", expected an id below %d", at, (int)TOKENIZER_MAX_IDS);
        }
        ids->items[ids->n++] = (int32_t)id;
        at = end;
    }
    return DSV4_OK;
}

static dsv4_status encode(const tokenize_options *o, const tokenizer *t, tokenizer_ids *ids, dsv4_error *err)
{
    if (o->prompt != NULL) {
        return tokenizer_encode(t, o->prompt, strlen(o->prompt), ids, err) != DSV4_OK ? cli_blame("--prompt", err) : DSV4_OK;
    }
    char *text = NULL;
    size_t n = 0;
    dsv4_status status = file_read(o->file, MAX_FILE_BYTES, &text, &n, err);
    if (status == DSV4_OK && tokenizer_encode(t, text, n, ids, err) != DSV4_OK) {
        status = cli_blame(o->file, err);
    }
    free(text);
    return status;
}

/* ---- the command ----------------------------------------------------------------------------------------------------------- */

static dsv4_status show(const tokenize_options *o, const tokenizer *t, dsv4_error *err)
{
    tokenizer_ids ids = {0};
    char *text = NULL;
    size_t n = 0;
    dsv4_status status = o->decode != NULL ? parse_ids(o->decode, &ids, err) : encode(o, t, &ids, err);
    status = status == DSV4_OK ? tokenizer_decode(t, ids.items, ids.n, false, &text, &n, err) : status;
    status = status == DSV4_OK ? cli_write_json(tokens_json(t, &ids, text, n), err) : status;
    if (status == DSV4_OK) {
        print_tokens(t, &ids, text, n);
    }
    free(text);
    free(ids.items);
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    tokenize_options o = {0};
    dsv4_error err = {0};
    tokenizer *t = NULL;
    int first = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    if (first != argc || (o.prompt != NULL) + (o.file != NULL) + (o.decode != NULL) != 1) {
        dsv4_fail(&err, DSV4_E_USAGE, "tokenize: expected one of --prompt, --file and --decode, and nothing else");
        return cli_fail(&err);
    }
    code = read_tokenizer(&o, &t, &err) == DSV4_OK && show(&o, t, &err) == DSV4_OK ? CLI_PASS : cli_fail(&err);
    tokenizer_free(t);
    return code;
}

const cli_command cli_tokenize = {
    "tokenize", "-m DIR -p TEXT [options]", "the ids of a text, or the text of ids", options_table, NULL, run};
