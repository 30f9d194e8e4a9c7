/* cli/bench/device_suite.c - `dsv4 bench device`: this machine as a device of the simulator, printed and written. */
#include "cli/bench/bench.h"
#include "cli/bench/device.h"

typedef struct device_options {
    const char *out;
    long long n_threads;
} device_options;

static void print_rate(const char *name, const sim_rate *r)
{
    cli_print("  %-8s %8.2f G/s a core", name, r->ops_s * 1e-9);
    for (int i = 0; i < r->by_rows.n; i++) {
        cli_print("%s %g: %.0f %%", i == 0 ? "; of it by rows" : ",", r->by_rows.at[i], r->by_rows.share[i] * 100);
    }
    cli_print("\n");
}

static void print_device(const sim_device *d)
{
    cli_print("%s\n", d->note);
    print_rate("BF16", &d->cores[0].bf16);
    print_rate("INT8", &d->cores[0].i8);
    print_rate("vector", &d->cores[0].vector);
    for (int i = 0; i < d->n_levels; i++) {
        const sim_level *l = &d->levels[i];
        cli_print("  %-12s read %7.2f GB/s, write %7.2f", l->name, l->read_bytes_s * 1e-9, l->write_bytes_s * 1e-9);
        if (l->is_shared) {
            cli_print("; of one core %7.2f, %7.2f", l->core_read_bytes_s * 1e-9, l->core_write_bytes_s * 1e-9);
        }
        if (l->bytes > 0) {
            cli_print("; %.1f MB", l->bytes * 1e-6);
        }
        cli_print("\n");
    }
    cli_print("  a block %.0f ns, an edge %.0f ns, handed to another core %.0f ns; overlap %.2f, of it lost where memory is shared "
              "%.2f\n",
              d->schedule.dispatch_s * 1e9, d->schedule.edge_s * 1e9, d->schedule.pickup_s * 1e9, d->overlap, d->overlap_lost);
}

static const cli_option device_table[] = {
    {"out", "F.json", "write the description, for dsv4 sim --device", cli_store_file, offsetof(device_options, out), 0, 0},
    {"threads", "N", "cores of the description (default: all physical ones)", cli_store_number, offsetof(device_options, n_threads),
     1, 1024},
    {.name = NULL},
};

static int run_device(const cli_command *self, int argc, char **argv)
{
    device_options o = {0};
    dsv4_error err = {0};
    sim_device d = {0};
    int first = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status = first < argc
                             ? dsv4_fail(&err, DSV4_E_USAGE, "%s: got \"%s\", expected options alone", self->name, argv[first])
                             : bench_device_measure((int)o.n_threads, &d, &err);
    if (status == DSV4_OK) {
        print_device(&d);
    }
    if (status == DSV4_OK && o.out != NULL) {
        status = sim_device_write(&d, o.out, &err);
    }
    json_t *results = status == DSV4_OK ? json_pack("{s:s, s:f}", "device", d.name, "overlap", d.overlap) : NULL;
    sim_device_deinit(&d);
    return bench_finish(results, status, &err);
}

const cli_command bench_device_suite = {"bench device", "[options]", "this machine as a device of dsv4 sim, by a micro-suite",
                                        device_table,   NULL,        run_device};
