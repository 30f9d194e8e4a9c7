/* cli/cli.c - options by table, text and errors for people, JSON for machines. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { MAX_OPTIONS = 32, FIRST_CODE = 256 }; /* getopt's codes of the long options begin beyond the characters */

static bool json_on_stdout;

static void print_help(const cli_command *command)
{
    cli_print("usage: dsv4 %s %s\n\n%s\n\n", command->name, command->arguments, command->summary);
    for (const cli_option *o = command->options; o->name != NULL; o++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->value != NULL ? " " : "", o->value != NULL ? o->value : "");
        cli_print("  %-28s %s\n", left, o->help);
    }
    cli_print("  %-28s %s\n", "--help", "this text");
    cli_print("\nexit codes: 0 pass, 1 mismatch, 2 bad input or usage\n");
}

/* The table as getopt wants it; --help comes last. An optional value is written with brackets. Every option has its own code,
 * without which getopt takes an ambiguous abbreviation for the first option that fits. */
static int fill_long_options(const cli_command *command, struct option *out)
{
    int n = 0;
    for (; command->options[n].name != NULL; n++) {
        const char *value = command->options[n].value;
        int argument = value == NULL ? no_argument : value[0] == '[' ? optional_argument : required_argument;
        out[n] = (struct option){command->options[n].name, argument, NULL, FIRST_CODE + n};
    }
    out[n] = (struct option){"help", no_argument, NULL, FIRST_CODE + n};
    out[n + 1] = (struct option){NULL, 0, NULL, 0};
    return n;
}

/* The value of an optional argument may also stand in the next word, if that is a number: "--bench 20". */
static const char *optional_value(int argc, char **argv)
{
    if (optarg == NULL && optind < argc && argv[optind][0] >= '0' && argv[optind][0] <= '9') {
        return argv[optind++];
    }
    return optarg;
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
    struct option table[MAX_OPTIONS + 2];
    dsv4_error err = {0};
    bool json_wants_stdout = false;
    int help = fill_long_options(command, table);
    opterr = 0;
    optind = 0;
    for (;;) {
        int code = getopt_long(argc, argv, ":", table, NULL);
        if (code == -1) {
            *first = optind;
            json_on_stdout = json_wants_stdout;
            return -1;
        }
        if (code < FIRST_CODE) {
            return refuse_option(command, code, argv);
        }
        int index = code - FIRST_CODE;
        if (index == help) {
            print_help(command);
            return CLI_PASS;
        }
        const char *value = table[index].has_arg == optional_argument ? optional_value(argc, argv) : optarg;
        if (command->options[index].store(options, value, &err) != DSV4_OK) {
            return cli_fail(&err);
        }
        if (strcmp(table[index].name, "json") == 0) {
            json_wants_stdout = strcmp(value, "-") == 0;
        }
    }
}

void cli_print(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!json_on_stdout) {
        vprintf(format, args);
    }
    va_end(args);
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

dsv4_status cli_number(const char *name, const char *text, long long low, long long high, long long *out, dsv4_error *err)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < low || value > high) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected a whole number from %lld to %lld", name, text, low, high);
    }
    *out = value;
    return DSV4_OK;
}

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

dsv4_status cli_write_json(const char *path, json_t *value, dsv4_error *err)
{
    file_writer writer;
    if (value == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for the results", path);
    }
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status == DSV4_OK) {
        json_dumpf(value, writer.stream, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        fputc('\n', writer.stream);
        status = file_writer_commit(&writer, err);
    }
    json_decref(value);
    return status;
}
