/* cli/generate/generate.c - `dsv4 generate`: text from a model. */
#include "cli/generate/generate.h"
#include "cli/stop.h"

static int run(const cli_command *self, int argc, char **argv)
{
    generate_options o = generate_defaults;
    generate_model m = {.folder = NULL};
    dsv4_error err = {0};
    int first = 0;
    const int code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status = first == argc ? generate_check_options(&o, &err)
                                       : dsv4_fail(&err, DSV4_E_USAGE, "generate: got \"%s\", expected options alone", argv[first]);
    if (status == DSV4_OK) {
        status = generate_model_find(&o, &m, &err);
    }
    if (status == DSV4_OK) {
        status = o.perplexity != NULL ? generate_perplexity(&o, &m, &err)
                 : o.interactive      ? generate_interactive(&o, &m, &err)
                                      : generate_text(&o, &m, &err);
    }
    generate_model_close(&m);
    return cli_stop_code(status == DSV4_OK ? CLI_PASS : cli_fail(&err));
}

const cli_command cli_generate = {"generate", "[options]", "text from a model", generate_option_table, NULL, run};
