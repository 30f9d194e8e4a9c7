/* cli/cli.c - options by table, text and errors for people, JSON for machines. */
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MAX_OPTIONS = 48, FIRST_CODE = 256 }; /* getopt's codes of the long options begin beyond the characters */
enum { JSON, HELP };

static const cli_option common_options[] = {
    [JSON] = {.name = "json", .value = "FILE|-", .help = "write the results as JSON", .store = cli_store_text},
    [HELP] = {.name = "help", .help = "this text"},
    {.name = NULL},
};

static const char *json_path; /* of the command that runs; NULL: not given */

static bool json_is_on_stdout(void)
{
    return json_path != NULL && strcmp(json_path, "-") == 0;
}

/* ---- options ----------------------------------------------------------------------------------------------------------- */

const char *cli_option_name(const cli_option *o)
{
    return cli_option_letter(o) != 0 ? o->name + 2 : o->name;
}

int cli_option_letter(const cli_option *o)
{
    return o->name[0] != '\0' && o->name[1] == ',' ? o->name[0] : 0;
}

dsv4_status cli_store_text(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    (void)self, (void)err;
    *(const char **)field = text;
    return DSV4_OK;
}

dsv4_status cli_store_file(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "-") == 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"-\", expected a file (only --json has stdout)", cli_option_name(self));
    }
    return cli_store_text(self, field, text, err);
}

dsv4_status cli_store_number(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < self->low || value > self->high) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected a whole number from %lld to %lld", cli_option_name(self),
                         text, self->low, self->high);
    }
    *(long long *)field = value;
    return DSV4_OK;
}

dsv4_status cli_store_real(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= (double)self->low && value <= (double)self->high)) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected a number from %lld to %lld", cli_option_name(self), text,
                         self->low, self->high);
    }
    *(double *)field = value;
    return DSV4_OK;
}

dsv4_status cli_store_flag(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    (void)self, (void)text, (void)err;
    *(bool *)field = true;
    return DSV4_OK;
}

/* All options of a command: its own, shared ones, common ones. */
typedef struct option_list {
    const cli_option *row[MAX_OPTIONS];
    struct option getopt[MAX_OPTIONS + 1];
    char letters[2 * MAX_OPTIONS + 2]; /* as getopt takes them */
    int n;
} option_list;

/* Every option has its own code, without which getopt takes an ambiguous abbreviation for the first option that fits. */
static void append_options(option_list *list, const cli_option *o)
{
    for (; o != NULL && o->name != NULL; o++) {
        int argument = o->value == NULL ? no_argument : o->value[0] == '[' ? optional_argument : required_argument;
        assert(list->n < MAX_OPTIONS);
        list->row[list->n] = o;
        list->getopt[list->n] = (struct option){cli_option_name(o), argument, NULL, FIRST_CODE + list->n};
        list->n++;
        if (cli_option_letter(o) != 0) {
            const char letter[] = {(char)cli_option_letter(o), argument == no_argument ? '\0' : ':', '\0'};
            strcat(list->letters, letter);
        }
    }
}

static option_list list_options(const cli_command *command)
{
    option_list list = {.letters = ":"};
    append_options(&list, command->options);
    append_options(&list, command->shared);
    append_options(&list, common_options);
    return list;
}

static void print_help(const cli_command *command, const option_list *list)
{
    cli_print("usage: dsv4 %s %s\n\n%s\n\n", command->name, command->arguments, command->summary);
    for (int i = 0; i < list->n; i++) {
        const cli_option *o = list->row[i];
        char left[64];
        const char letter[] = {'-', (char)cli_option_letter(o), ',', ' ', '\0'};
        snprintf(left, sizeof left, "%s--%s%s%s", letter[1] != '\0' ? letter : "", cli_option_name(o), o->value != NULL ? " " : "",
                 o->value != NULL ? o->value : "");
        cli_print("  %-28s %s\n", left, o->help);
    }
    cli_print("\nexit codes: 0 pass, 1 mismatch, 2 bad input or usage, 130 interrupted\n");
}

/* The value of an optional argument may also stand in the next word, if that is a number: "--bench 20". */
static const char *optional_value(int argc, char **argv)
{
    if (optarg == NULL && optind < argc && argv[optind][0] >= '0' && argv[optind][0] <= '9') {
        return argv[optind++];
    }
    return optarg;
}

/* The option of a code or letter that getopt returned; NULL: none, it was refused. */
static const cli_option *find_option(const option_list *list, int code)
{
    for (int i = 0; i < list->n; i++) {
        if (code == FIRST_CODE + i || (code == cli_option_letter(list->row[i]) && code != 0)) {
            return list->row[i];
        }
    }
    return NULL;
}

/* One line about the option that getopt refused with `code`. */
static int refuse_option(const cli_command *command, int code, char **argv)
{
    bool is_short = optopt > 0 && optopt < FIRST_CODE;
    const char letter[] = {'-', (char)optopt, '\0'};
    const char *what = code == ':' ? "needs a value" : optopt >= FIRST_CODE ? "takes no value" : "is unknown or ambiguous";
    dsv4_error err = {0};
    dsv4_fail(&err, DSV4_E_USAGE, "%s: option %s %s; see dsv4 %s --help", command->name, is_short ? letter : argv[optind - 1], what,
              command->name);
    return cli_fail(&err);
}

int cli_parse(const cli_command *command, int argc, char **argv, void *options, int *first)
{
    const option_list list = list_options(command);
    const char *json = NULL;
    dsv4_error err = {0};
    int code;
    opterr = 0;
    optind = 0;
    while ((code = getopt_long(argc, argv, list.letters, list.getopt, NULL)) != -1) {
        const cli_option *o = find_option(&list, code);
        if (o == NULL) {
            return refuse_option(command, code, argv);
        }
        if (o == &common_options[HELP]) {
            print_help(command, &list);
            return CLI_PASS;
        }
        const char *text = o->value != NULL && o->value[0] == '[' ? optional_value(argc, argv) : optarg;
        void *field = o == &common_options[JSON] ? (void *)&json : (char *)options + o->offset;
        if (o->store(o, field, text, &err) != DSV4_OK) {
            return cli_fail(&err);
        }
    }
    *first = optind;
    json_path = json;
    return json == NULL || file_check_writable(json, &err) == DSV4_OK ? -1 : cli_fail(&err);
}

/* ---- text and errors ------------------------------------------------------------------------------------------------------ */

void cli_print(const char *format, ...)
{
    va_list args;
    if (json_is_on_stdout()) {
        return;
    }
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (text == NULL) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++) {
        *c = ((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f ? '?' : *c;
    }
    fputs(text, stdout);
    free(text);
}

bool cli_print_bytes(const char *bytes, size_t n)
{
    if (!json_is_on_stdout()) {
        fwrite(bytes, 1, n, stdout);
        fflush(stdout);
    }
    return !ferror(stdout);
}

int cli_fail(const dsv4_error *err)
{
    fflush(stdout); /* what came before stays before, where both go to one place */
    fprintf(stderr, "dsv4: %s\n", err->text[0] != '\0' ? err->text : dsv4_status_text(err->status));
    return CLI_BAD;
}

dsv4_status cli_blame(const char *path, dsv4_error *err)
{
    dsv4_error inner = *err;
    return dsv4_fail(err, inner.status, "%s: %s", path, inner.text);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------------- */

json_t *cli_json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value != NULL) {
        return value;
    }
    char *ascii = strdup(text);
    for (char *c = ascii; c != NULL && *c != '\0'; c++) {
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    }
    value = json_string(ascii);
    free(ascii);
    return value;
}

dsv4_status cli_write_json(json_t *value, dsv4_error *err)
{
    file_writer writer;
    if (json_path == NULL) {
        json_decref(value);
        return DSV4_OK;
    }
    if (value == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for the results", json_path);
    }
    dsv4_status status = file_writer_open(&writer, json_path, err);
    if (status == DSV4_OK) {
        json_dumpf(value, writer.stream, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        fputc('\n', writer.stream);
        status = file_writer_commit(&writer, err);
    }
    json_decref(value);
    return status;
}
