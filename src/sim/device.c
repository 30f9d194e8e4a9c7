/* sim/device.c - what a description must obey as a whole, and changes to one number of it. */
#include "sim/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/fields.h"

void sim_device_deinit(sim_device *d)
{
    arena_deinit(&d->memory);
    *d = (sim_device){0};
}

/* ---- the whole ----------------------------------------------------------------------------------------------------------- */

static bool is_power_of_two(double value)
{
    int exponent;
    return frexp(value, &exponent) == 0.5;
}

static dsv4_status check_level(const sim_device *d, int level, const char *source, dsv4_error *err)
{
    const sim_level *l = &d->levels[level];
    bool is_nearest = level + 1 == d->n_levels, is_free = l->read_bytes_s == 0 && l->write_bytes_s == 0;
    if (level == 0 && (l->bytes != 0 || !l->is_shared)) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "%s: levels.%s: got bytes %g and is_shared %s, expected 0 and true: the first level holds all", source,
                         l->name, l->bytes, l->is_shared ? "true" : "false");
    }
    if (level > 0 && l->bytes < SIM_MAX_LINE_BYTES) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: levels.%s.bytes: got %g, expected %d or more", source, l->name, l->bytes,
                         SIM_MAX_LINE_BYTES);
    }
    if (level > 0 && l->is_shared && !d->levels[level - 1].is_shared) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: levels.%s.is_shared: got true behind a level of each core, expected false", source,
                         l->name);
    }
    if ((l->read_bytes_s < 1 || l->write_bytes_s < 1) && !(is_nearest && is_free)) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: levels.%s: got read_bytes_s %g and write_bytes_s %g, expected 1 or more%s", source,
                         l->name, l->read_bytes_s, l->write_bytes_s, is_nearest ? ", or 0 for both" : "");
    }
    if ((l->core_read_bytes_s != 0 && l->core_read_bytes_s < 1) || (l->core_write_bytes_s != 0 && l->core_write_bytes_s < 1)) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: levels.%s: got core bandwidth %g, expected 0 or 1 and more", source, l->name,
                         l->core_read_bytes_s != 0 && l->core_read_bytes_s < 1 ? l->core_read_bytes_s : l->core_write_bytes_s);
    }
    return is_power_of_two(l->line_bytes)
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_VALUE, "%s: levels.%s.line_bytes: got %g, expected a power of two", source, l->name,
                           l->line_bytes);
}

static dsv4_status check_cores(const sim_device *d, const char *source, dsv4_error *err)
{
    int n_cores = 0;
    for (int i = 0; i < d->n_core_kinds; i++) {
        const sim_core_kind *c = &d->cores[i];
        n_cores += c->count;
        if (d->schedule.n_threads == 0 && !(c->runs_cube && c->runs_vector)) {
            return dsv4_fail(err, DSV4_E_VALUE,
                             "%s: cores.%s: got runs_cube %s and runs_vector %s, expected both where schedule.n_threads is 0",
                             source, c->name, c->runs_cube ? "true" : "false", c->runs_vector ? "true" : "false");
        }
    }
    return n_cores <= SIM_MAX_CORES
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_VALUE, "%s: cores: got %d in all, expected at most %d", source, n_cores, SIM_MAX_CORES);
}

dsv4_status sim_device_check(const sim_device *d, const char *source, dsv4_error *err)
{
    dsv4_status status = check_cores(d, source, err);
    for (int i = 0; i < d->n_levels && status == DSV4_OK; i++) {
        status = check_level(d, i, source, err);
    }
    return status;
}

/* ---- one number ----------------------------------------------------------------------------------------------------------- */

/* The rest of a path behind "head."; NULL where it does not begin so. */
static const char *behind(const char *path, const char *head)
{
    size_t n = strlen(head);
    return strncmp(path, head, n) == 0 && path[n] == '.' ? path + n + 1 : NULL;
}

typedef struct place {
    const sim_field *field; /* NULL: no such path */
    void *object;
} place;

static place find_field(const sim_field *fields, void *object, const char *name)
{
    for (const sim_field *f = fields; f->name != NULL; f++) {
        if (strcmp(f->name, name) == 0) {
            return (place){f, object};
        }
    }
    return (place){NULL, NULL};
}

static place find_in_core(sim_core_kind *core, const char *path)
{
    for (const sim_rate_name *r = sim_rate_names; r->name != NULL; r++) {
        const char *rest = behind(path, r->name);
        if (rest != NULL) {
            return find_field(sim_rate_fields, (char *)core + r->offset, rest);
        }
    }
    const char *buffer = behind(path, "buffers");
    for (int i = 0; buffer != NULL && i < core->n_buffers; i++) {
        const char *rest = behind(buffer, core->buffers[i].name);
        if (rest != NULL) {
            return find_field(sim_buffer_fields, &core->buffers[i], rest);
        }
    }
    return find_field(sim_core_fields, core, path);
}

static place find_path(sim_device *d, const char *path)
{
    const char *core = behind(path, "cores"), *level = behind(path, "levels"), *schedule = behind(path, "schedule");
    for (int i = 0; core != NULL && i < d->n_core_kinds; i++) {
        const char *rest = behind(core, d->cores[i].name);
        if (rest != NULL) {
            return find_in_core(&d->cores[i], rest);
        }
    }
    for (int i = 0; level != NULL && i < d->n_levels; i++) {
        const char *rest = behind(level, d->levels[i].name);
        if (rest != NULL) {
            return find_field(sim_level_fields, &d->levels[i], rest);
        }
    }
    return schedule != NULL ? find_field(sim_schedule_fields, &d->schedule, schedule) : find_field(sim_device_fields, d, path);
}

dsv4_status sim_device_set(sim_device *d, const char *set, dsv4_error *err)
{
    enum { PATH_BYTES = 128 };
    char path[PATH_BYTES];
    const char *equals = strchr(set, '=');
    size_t n = equals == NULL ? 0 : (size_t)(equals - set);
    if (n == 0 || n >= sizeof path) {
        return dsv4_fail(err, DSV4_E_USAGE, "device %s: got \"%s\", expected PATH=VALUE", d->name, set);
    }
    memcpy(path, set, n);
    path[n] = '\0';
    place p = find_path(d, path);
    if (p.field == NULL) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "device %s: has no number \"%s\"; a path is like levels.%s.read_bytes_s", d->name,
                         path, d->levels[0].name);
    }
    char *end;
    double value = strtod(equals + 1, &end);
    const sim_device before = *d;
    if (end == equals + 1 || *end != '\0' || !sim_field_put(p.field, p.object, value)) {
        return dsv4_fail(err, DSV4_E_VALUE, "device %s: %s: got \"%s\", expected a %s from %g to %g", d->name, path, equals + 1,
                         p.field->type == SIM_REAL ? "number" : "whole number", p.field->low, p.field->high);
    }
    dsv4_status status = sim_device_check(d, d->name, err);
    if (status != DSV4_OK) {
        *d = before;
    }
    return status;
}
