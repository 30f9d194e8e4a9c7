/* cli/cli.h - what the subcommands of the program share: options, errors, exit codes.
 *
 * A subcommand is one file. It fills a table of options, a structure they are stored into, and does its work. Text for people goes
 * to stdout through cli_print, one line of error to stderr. Results for machines go to --json; with --json - they are all that
 * stdout holds. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "dsv4/status.h"

enum { CLI_PASS = 0, CLI_MISMATCH = 1, CLI_BAD = 2 }; /* exit codes; a help request passes */

/* Stores the text of an option (NULL for a flag) where it belongs. */
typedef dsv4_status cli_store_fn(void *options, const char *text, dsv4_error *err);

typedef struct cli_option {
    const char *name;  /* without the dashes */
    const char *value; /* what the help calls its value; NULL: a flag */
    const char *help;
    cli_store_fn *store;
} cli_option;

typedef struct cli_command {
    const char *name, *arguments, *summary; /* "run", "OP [options]", one line */
    const cli_option *options;              /* name NULL behind the last */
    int (*run)(const struct cli_command *self, int argc, char **argv);
} cli_command;

extern const cli_command cli_list, cli_run, cli_check, cli_bench;

/* Parses argv[1..] into options. Positional arguments are moved to the end, argv[*first] on. Returns -1 to go on, else the exit
 * code: after printing the help, or one line about what was wrong. "--json -" silences cli_print. */
int cli_parse(const cli_command *command, int argc, char **argv, void *options, int *first);

/* Text for people, on stdout. A failed write is noticed when the program ends. */
void cli_print(const char *format, ...) DSV4_PRINTF(1, 2);

/* Prints err as the program's one line of error; returns CLI_BAD. */
int cli_fail(const dsv4_error *err);

/* Puts the path of the file at fault in front of err; returns its status. */
dsv4_status cli_blame(const char *path, dsv4_error *err);

/* A whole number within [low, high]. */
dsv4_status cli_number(const char *name, const char *text, long long low, long long high, long long *out, dsv4_error *err);

/* A path or a message as JSON. Text that is not UTF-8 has '?' for every byte beyond ASCII. */
json_t *cli_json_text(const char *text);

/* Writes value to a path ("-": stdout); takes over its reference. value may be NULL (no memory). */
dsv4_status cli_write_json(const char *path, json_t *value, dsv4_error *err);

#endif
