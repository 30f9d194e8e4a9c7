/* rt/sealing.h - seals that must succeed, and seals that must be refused with a line that names what is wrong. */
#ifndef RT_SEALING_H
#define RT_SEALING_H

#include <string.h>

#include "dsv4/graph.h"
#include "require.h"

static inline void seal(dsv4_graph *g, dsv4_deps deps)
{
    dsv4_error err = {0};
    if (dsv4_graph_seal(g, deps, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
}

static inline void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" does not name \"%s\"", text, part);
    }
}

/* Sealing fails with a line that names `one` and `two`. Destroys the graph. */
static inline void assert_refused(dsv4_graph *g, const char *one, const char *two)
{
    dsv4_error err = {0};
    assert_int_equal(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), DSV4_E_GRAPH);
    assert_int_equal(err.status, DSV4_E_GRAPH);
    assert_contains(err.text, one);
    assert_contains(err.text, two);
    dsv4_graph_destroy(g);
}

#endif
