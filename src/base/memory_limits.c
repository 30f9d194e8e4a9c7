#include "base/memory_limits.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096, LINE_BYTES = 4096 };

/* What the two versions of control groups call things. */
typedef struct group_version {
    const char *controller; /* in a line of /proc/self/cgroup, between the colons */
    const char *folder;     /* in the folder of groups */
    const char *limit, *usage;
} group_version;

static const group_version versions[] = {
    {"", "", "memory.max", "memory.current"},
    {"memory", "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"},
};

/* The number behind `key` at the beginning of a line ("" for a file that is one number). */
static bool read_number(const char *path, const char *key, size_t *out)
{
    char line[LINE_BYTES];
    unsigned long long number = 0;
    bool found = false;
    FILE *f = fopen(path, "r");
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        const size_t n = strlen(key);
        found = strncmp(line, key, n) == 0 && sscanf(line + n, "%llu", &number) == 1;
    }
    if (f != NULL) {
        fclose(f);
    }
    *out = (size_t)number;
    return found;
}

static bool read_group_number(const char *folder, const char *file, const char *key, size_t *out)
{
    char path[PATH_BYTES];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, file);
    return n > 0 && n < PATH_BYTES && read_number(path, key, out);
}

/* What the group of that folder still allows. */
static size_t group_rest(const char *folder, const group_version *v)
{
    size_t limit, usage, active = 0, inactive = 0;
    if (!read_group_number(folder, v->limit, "", &limit) || !read_group_number(folder, v->usage, "", &usage)) {
        return SIZE_MAX; /* "max": no limit */
    }
    if (read_group_number(folder, "memory.stat", "active_file ", &active) &&
        read_group_number(folder, "memory.stat", "inactive_file ", &inactive) && active <= usage && inactive <= usage - active) {
        usage -= active + inactive;
    }
    return limit > usage ? limit - usage : 0;
}

/* Of the group of that path and of all above it. */
static size_t groups_rest(const char *groups, const char *path, const group_version *v)
{
    char folder[PATH_BYTES];
    size_t rest = SIZE_MAX;
    const int n_root = snprintf(folder, sizeof folder, "%s%s", groups, v->folder);
    if (n_root < 0 || (size_t)n_root + strlen(path) >= sizeof folder) {
        return rest;
    }
    strcpy(folder + n_root, path);
    for (;;) {
        const size_t here = group_rest(folder, v);
        rest = here < rest ? here : rest;
        char *slash = strrchr(folder + n_root, '/');
        if (slash == NULL) {
            return rest;
        }
        *slash = '\0';
    }
}

/* A line is "number:controllers:path". */
static size_t rest_of_line(const char *groups, char *line)
{
    size_t rest = SIZE_MAX;
    char *controllers = strchr(line, ':'), *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (path == NULL) {
        return rest;
    }
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        if (strcmp(controllers + 1, versions[i].controller) == 0) {
            const size_t here = groups_rest(groups, path, &versions[i]);
            rest = here < rest ? here : rest;
        }
    }
    return rest;
}

memory_limits memory_limits_read(const char *proc, const char *groups)
{
    memory_limits m = {SIZE_MAX, SIZE_MAX, SIZE_MAX};
    char path[PATH_BYTES], line[LINE_BYTES];
    size_t kib = 0;
    if (snprintf(path, sizeof path, "%s/meminfo", proc) < PATH_BYTES && read_number(path, "MemAvailable:", &kib)) {
        m.machine = kib > SIZE_MAX >> 10 ? SIZE_MAX : kib << 10;
    }
    FILE *f = snprintf(path, sizeof path, "%s/self/cgroup", proc) < PATH_BYTES ? fopen(path, "r") : NULL;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const size_t rest = rest_of_line(groups, line);
        m.group = rest < m.group ? rest : m.group;
    }
    if (f != NULL) {
        fclose(f);
    }
    m.available = m.group < m.machine ? m.group : m.machine;
    return m;
}
