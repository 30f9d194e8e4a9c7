/* sim/device_write.c - a description as JSON that sim_device_read takes. */
#include <jansson.h>

#include "base/file.h"
#include "sim/fields.h"

/* Adds the numbers of an object. Out of memory shows in the end: a member is missing, or root is NULL. */
static bool add_fields(json_t *to, const sim_field *fields, const void *object)
{
    bool ok = to != NULL;
    for (; fields->name != NULL && ok; fields++) {
        double value = sim_field_get(fields, object);
        json_t *number = fields->type == SIM_BOOL  ? json_boolean(value != 0)
                         : fields->type == SIM_INT ? json_integer((json_int_t)value)
                                                   : json_real(value);
        ok = json_object_set_new(to, fields->name, number) == 0;
    }
    return ok;
}

static bool add_rate(json_t *core, const char *name, const sim_rate *rate)
{
    if (rate->ops_s == 0) {
        return true;
    }
    json_t *to = json_object(), *points = json_array();
    bool ok = add_fields(to, sim_rate_fields, rate) && points != NULL;
    for (int i = 0; i < rate->by_rows.n && ok; i++) {
        ok = json_array_append_new(points, json_pack("[f, f]", rate->by_rows.at[i], rate->by_rows.share[i])) == 0;
    }
    if (rate->by_rows.n > 0) {
        ok = json_object_set(to, "by_rows", points) == 0 && ok;
    }
    json_decref(points);
    return json_object_set_new(core, name, to) == 0 && ok;
}

static bool add_core(json_t *list, const sim_core_kind *c)
{
    json_t *to = json_pack("{s:s}", "name", c->name), *buffers = json_array();
    bool ok = add_fields(to, sim_core_fields, c) && buffers != NULL;
    for (const sim_rate_name *n = sim_rate_names; n->name != NULL && ok; n++) {
        ok = add_rate(to, n->name, (const sim_rate *)(const void *)((const char *)c + n->offset));
    }
    for (int i = 0; i < c->n_buffers && ok; i++) {
        const sim_buffer *b = &c->buffers[i];
        ok = json_array_append_new(buffers, json_pack("{s:s, s:s, s:f}", "name", b->name, "use", sim_buffer_use_names[b->use],
                                                      "bytes", b->bytes)) == 0;
    }
    ok = json_object_set_new(to, "buffers", buffers) == 0 && ok;
    return json_array_append_new(list, to) == 0 && ok;
}

static bool add_level(json_t *list, const sim_level *l)
{
    json_t *to = json_pack("{s:s}", "name", l->name);
    bool ok = add_fields(to, sim_level_fields, l);
    return json_array_append_new(list, to) == 0 && ok;
}

static bool add_texts(json_t *root, const sim_device *d)
{
    json_t *sources = json_array();
    bool ok = sources != NULL && json_object_set_new(root, "name", json_string(d->name)) == 0;
    if (d->note != NULL) {
        ok = ok && json_object_set_new(root, "note", json_string(d->note)) == 0;
    }
    for (int i = 0; i < d->n_sources && ok; i++) {
        ok = json_array_append_new(sources, json_string(d->sources[i])) == 0;
    }
    return json_object_set_new(root, "sources", sources) == 0 && ok;
}

/* NULL without memory. */
static json_t *describe(const sim_device *d)
{
    json_t *root = json_object(), *cores = json_array(), *levels = json_array(), *schedule = json_object();
    bool ok = add_texts(root, d);
    for (int i = 0; i < d->n_core_kinds; i++) {
        ok = add_core(cores, &d->cores[i]) && ok;
    }
    for (int i = 0; i < d->n_levels; i++) {
        ok = add_level(levels, &d->levels[i]) && ok;
    }
    ok = add_fields(schedule, sim_schedule_fields, &d->schedule) && ok;
    ok = json_object_set_new(root, "cores", cores) == 0 && ok;
    ok = json_object_set_new(root, "levels", levels) == 0 && ok;
    ok = json_object_set_new(root, "schedule", schedule) == 0 && ok;
    ok = add_fields(root, sim_device_fields, d) && ok;
    if (!ok) {
        json_decref(root);
        return NULL;
    }
    return root;
}

dsv4_status sim_device_write(const sim_device *d, const char *path, dsv4_error *err)
{
    file_writer writer;
    json_t *root = describe(d);
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory to write the device", path);
    }
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status == DSV4_OK) {
        json_dumpf(root, writer.stream, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        fputc('\n', writer.stream);
        status = file_writer_commit(&writer, err);
    }
    json_decref(root);
    return status;
}
