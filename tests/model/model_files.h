/* model_files.h - folders of checkpoints for tests: where they are, and copies to damage. */
#ifndef MODEL_FILES_H
#define MODEL_FILES_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "model/checkpoint.h"
#include "require.h"

#define TINY_ENGLISH TEST_VECTORS "/../../models/tiny-english"
#define MODEL_DATA TEST_VECTORS "/../model/data"
#define TINY_RANDOM MODEL_DATA "/tiny-random"
#define CONFIGS TEST_VECTORS "/../fuzz/corpus/model_config"

static const char *const english_files[] = {"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
                                            "model-00002-of-00002.safetensors"};

static inline const char *path_in(const char *folder, const char *name)
{
    static char path[FILE_PATH_BYTES];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_true(n > 0 && (size_t)n < sizeof path);
    return path;
}

static inline char *read_text(const char *path, size_t *n_bytes)
{
    char *text = NULL;
    dsv4_error err = {0};
    require_ok(file_read(path, 64 << 20, &text, n_bytes, &err), &err);
    return text;
}

static inline void write_bytes(const char *path, const char *bytes, size_t n_bytes)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n_bytes, f), n_bytes);
    assert_int_equal(fclose(f), 0);
}

/* A fresh copy of tiny-english in `folder`. */
static inline void copy_english(const char *folder)
{
    mkdir(folder, 0777);
    for (size_t i = 0; i < sizeof english_files / sizeof *english_files; i++) {
        size_t n;
        char *bytes = read_text(path_in(TINY_ENGLISH, english_files[i]), &n);
        unlink(path_in(folder, english_files[i]));
        write_bytes(path_in(folder, english_files[i]), bytes, n);
        free(bytes);
    }
}

/* A copy of a text with `to` where `from` first stands, which it must. The caller frees it. */
static inline char *replace_text(const char *text, const char *from, const char *to)
{
    size_t n_before = 0;
    while (text[n_before] != '\0' && strncmp(text + n_before, from, strlen(from)) != 0) {
        n_before++;
    }
    if (text[n_before] == '\0') {
        fail_msg("no '%s' to replace", from);
    }
    char *out = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)n_before, text, to, text + n_before + strlen(from));
    return out;
}

static inline void replace_in_file(const char *path, const char *from, const char *to)
{
    size_t n;
    char *text = read_text(path, &n), *changed = replace_text(text, from, to);
    write_bytes(path, changed, strlen(changed));
    free(changed);
    free(text);
}

#endif
