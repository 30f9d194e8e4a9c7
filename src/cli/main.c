/* cli/main.c - the program: finds the subcommand, and sees to it that what was printed has been written. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/stop.h"

static const cli_command *const commands[] = {&cli_list,  &cli_run,      &cli_check,    &cli_bench,   &cli_trace,
                                              &cli_sim,   &cli_ablate,   &cli_tune,     &cli_inspect, &cli_convert,
                                              &cli_synth, &cli_tokenize, &cli_generate, NULL};

static void print_help(void)
{
    cli_print("dsv4: DeepSeek-V4 on CPUs, every kernel a graph of tile tasks\n\nusage: dsv4 COMMAND ...\n\n");
    for (int i = 0; commands[i] != NULL; i++) {
        cli_print("  %-8s %s\n", commands[i]->name, commands[i]->summary);
    }
    cli_print("\ndsv4 COMMAND --help tells a command's options\n\nto begin with:\n"
              "  dsv4 generate -p \"In the beginning\"                    text from the small model that comes along\n"
              "  dsv4 list qkv_proj_rope                                 its tensors, dimensions and tiles\n"
              "  dsv4 run qkv_proj_rope --preset tiny --trace t.json     run it, compare it, draw it\n");
}

/* A standard descriptor that is closed becomes one that cannot be written: else a file opened later would take its number and
 * receive what is printed. */
static void occupy_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDONLY);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
}

static int run_command(int argc, char **argv)
{
    dsv4_error err = {0};
    if (argc < 2) {
        dsv4_fail(&err, DSV4_E_USAGE, "got no command; see dsv4 --help");
        return cli_fail(&err);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return CLI_PASS;
    }
    for (int i = 0; commands[i] != NULL; i++) {
        if (strcmp(commands[i]->name, argv[1]) == 0) {
            return commands[i]->run(commands[i], argc - 1, argv + 1);
        }
    }
    dsv4_fail(&err, DSV4_E_USAGE, "command \"%s\" is unknown; see dsv4 --help", argv[1]);
    return cli_fail(&err);
}

int main(int argc, char **argv)
{
    occupy_standard_descriptors();
    signal(SIGXFSZ, SIG_IGN); /* a file that grows beyond its limit shows as a failed write, as on a full disk */
    int code = run_command(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) {
        if (code == CLI_INTERRUPTED) {
            cli_stop_end();
        }
        return code;
    }
    dsv4_error err = {0};
    dsv4_fail(&err, DSV4_E_IO, "stdout: cannot write: %s", strerror(errno));
    return code == CLI_BAD ? code : cli_fail(&err);
}
