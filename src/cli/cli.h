/* cli/cli.h - what the subcommands of the program share: options, errors, exit codes.
 *
 * A subcommand is one file: a structure for its options, a table that says where each is stored, and its work. Text for people goes
 * to stdout through cli_print, one line of error to stderr. Results for machines go to --json, which every subcommand has; with
 * --json - they are all that stdout holds. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <jansson.h>
#include <stdbool.h>

#include "dsv4/status.h"

/* Exit codes; a help request passes. Interrupted: the program ends by the signal, which a shell shows as 130 (Ctrl-C) or 143. */
enum { CLI_PASS = 0, CLI_MISMATCH = 1, CLI_BAD = 2, CLI_INTERRUPTED = 128 };

typedef struct cli_option cli_option;

/* Stores the text of an option in its field; text is NULL for a flag, and for an optional value that is not there. */
typedef dsv4_status cli_store_fn(const cli_option *self, void *field, const char *text, dsv4_error *err);

struct cli_option {
    const char *name;  /* without the dashes; "m,model": -m too */
    const char *value; /* what the help calls its value; in brackets: may be left out; NULL: a flag */
    const char *help;
    cli_store_fn *store;
    size_t offset;       /* of the field in the command's structure */
    long long low, high; /* limits of cli_store_number and cli_store_real */
};

const char *cli_option_name(const cli_option *o); /* without a letter */
int cli_option_letter(const cli_option *o);       /* 0: none */

cli_store_fn cli_store_text;   /* const char *; the text of argv */
cli_store_fn cli_store_file;   /* the same, but not "-": stdout holds the text for people */
cli_store_fn cli_store_number; /* long long */
cli_store_fn cli_store_real;   /* double */
cli_store_fn cli_store_flag;   /* bool */

typedef struct cli_command {
    const char *name, *arguments, *summary; /* "run", "OP [options]", one line */
    const cli_option *options, *shared;     /* its own, and those it shares with others; name NULL behind the last; may be NULL */
    int (*run)(const struct cli_command *self, int argc, char **argv);
} cli_command;

extern const cli_command cli_list, cli_run, cli_check, cli_bench, cli_trace, cli_sim, cli_ablate, cli_tune, cli_inspect,
    cli_convert, cli_synth, cli_tokenize, cli_generate;

/* Parses argv[1..] into the structure that the command's options are stored in. Positional arguments are moved to the end,
 * argv[*first] on. Returns -1 to go on, else the exit code: after printing the help, or one line about what was wrong. */
int cli_parse(const cli_command *command, int argc, char **argv, void *options, int *first);

/* Text for people, on stdout; '?' for control characters, which names from files may hold. A failed write is noticed when the program
 * ends. */
void cli_print(const char *format, ...) DSV4_PRINTF(1, 2);

/* Bytes as they are, on stdout, at once. False: stdout takes no more. */
bool cli_print_bytes(const char *bytes, size_t n);

/* Prints err as the program's one line of error; returns CLI_BAD. */
int cli_fail(const dsv4_error *err);

/* Puts the path of the file at fault in front of err; returns its status. */
dsv4_status cli_blame(const char *path, dsv4_error *err);

/* A path or a message as JSON. Text that is not UTF-8 has '?' for every byte beyond ASCII. */
json_t *cli_json_text(const char *text);

/* Writes value where --json says, if it was given; takes over its reference. value may be NULL (no memory). */
DSV4_MUST_CHECK dsv4_status cli_write_json(json_t *value, dsv4_error *err);

#endif
