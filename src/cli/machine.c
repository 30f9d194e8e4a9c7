#include "cli/machine.h"

#include <hwloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const size_t unknown_cache_bytes = (size_t)256 << 20, unknown_core_cache_bytes = (size_t)512 << 10;

struct machine {
    hwloc_topology_t topology;
};

dsv4_status machine_open(machine **out, dsv4_error *err)
{
    machine *m = calloc(1, sizeof *m);
    if (m == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "machine: no memory for its topology");
    }
    if (hwloc_topology_init(&m->topology) != 0 || hwloc_topology_load(m->topology) != 0) {
        machine_close(m);
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "machine: its topology cannot be read");
    }
    *out = m;
    return DSV4_OK;
}

void machine_close(machine *m)
{
    if (m != NULL && m->topology != NULL) {
        hwloc_topology_destroy(m->topology);
    }
    free(m);
}

size_t machine_cache_bytes(const machine *m)
{
    static const hwloc_obj_type_t last_first[] = {HWLOC_OBJ_L5CACHE, HWLOC_OBJ_L4CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE};
    size_t total = 0;
    for (size_t level = 0; level < sizeof last_first / sizeof *last_first && total == 0; level++) {
        int n = hwloc_get_nbobjs_by_type(m->topology, last_first[level]);
        for (int i = 0; i < n; i++) {
            total += hwloc_get_obj_by_type(m->topology, last_first[level], (unsigned)i)->attr->cache.size;
        }
    }
    return total > 0 ? total : unknown_cache_bytes;
}

size_t machine_core_cache_bytes(const machine *m)
{
    hwloc_obj_t core = hwloc_get_obj_by_type(m->topology, HWLOC_OBJ_CORE, 0);
    size_t n_bytes = 0;
    for (hwloc_obj_t o = core; o != NULL && hwloc_get_nbobjs_inside_cpuset_by_type(m->topology, o->cpuset, HWLOC_OBJ_CORE) <= 1;
         o = o->parent) {
        bool is_cache = o->type >= HWLOC_OBJ_L1CACHE && o->type <= HWLOC_OBJ_L5CACHE;
        n_bytes = is_cache && o->attr->cache.size > n_bytes ? o->attr->cache.size : n_bytes;
    }
    return n_bytes > 0 ? n_bytes : unknown_core_cache_bytes;
}

size_t machine_free_bytes(void)
{
    char line[128];
    unsigned long long available_kb = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f != NULL && available_kb == 0 && fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "MemAvailable: %llu kB", &available_kb) != 1) {
            available_kb = 0;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
    return available_kb > 0 ? (size_t)available_kb << 10 : (size_t)sysconf(_SC_AVPHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
}

int machine_n_cores(const machine *m)
{
    return hwloc_get_nbobjs_by_type(m->topology, HWLOC_OBJ_CORE);
}

void machine_pin(const machine *m, int core)
{
    hwloc_obj_t object = hwloc_get_obj_by_type(m->topology, HWLOC_OBJ_CORE, (unsigned)core);
    hwloc_cpuset_t set = object == NULL ? NULL : hwloc_bitmap_dup(object->cpuset);
    if (set != NULL) {
        hwloc_bitmap_singlify(set);
        hwloc_set_cpubind(m->topology, set, HWLOC_CPUBIND_THREAD);
        hwloc_bitmap_free(set);
    }
}
