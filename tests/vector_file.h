/* vector_file.h - a vector file of the reference implementation, for tests of several layers. */
#ifndef VECTOR_FILE_H
#define VECTOR_FILE_H

#include <stdio.h>
#include <string.h>

#include "dsv4/safetensors.h"
#include "require.h"

/* Ends with vector_file_close. */
typedef struct vector_file {
    dsv4_safetensors *st;
    const char *kernel; /* the reference's name of the operator */
    dsv4_config config;
    dsv4_tensor_list in, expected; /* in.*, out.*; borrowed from st */
} vector_file;

/* The file TEST_VECTORS/name.safetensors. */
static inline vector_file vector_file_open(const char *name)
{
    char path[4096];
    vector_file v = {0};
    dsv4_error err = {0};
    snprintf(path, sizeof path, "%s/%s.safetensors", TEST_VECTORS, name);
    require_ok(dsv4_safetensors_open(path, &v.st, &err), &err);
    v.kernel = dsv4_safetensors_metadata(v.st, "kernel");
    const char *config = dsv4_safetensors_metadata(v.st, "config");
    assert_non_null(v.kernel);
    assert_non_null(config);
    require_ok(dsv4_config_parse(path, config, strlen(config), &v.config, &err), &err);
    require_ok(dsv4_safetensors_load(v.st, "in.", &v.in, &err), &err);
    require_ok(dsv4_safetensors_load(v.st, "out.", &v.expected, &err), &err);
    assert_true(v.in.n > 0 && v.expected.n > 0);
    return v;
}

static inline void vector_file_close(vector_file *v)
{
    dsv4_tensor_list_deinit(&v->in);
    dsv4_tensor_list_deinit(&v->expected);
    dsv4_safetensors_close(v->st);
}

/* A test of one file: test_vector_file finds its name in *state. */
#define VECTOR(name)                                       \
    {                                                      \
#name, test_vector_file, NULL, NULL, (void *)#name \
    }

#endif
