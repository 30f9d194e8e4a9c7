/* require.h - what the tests of several layers share: steps that must succeed. */
#ifndef REQUIRE_H
#define REQUIRE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dsv4/config.h"

static inline void require_ok(dsv4_status status, const dsv4_error *err)
{
    if (status != DSV4_OK) {
        fail_msg("%s", err->text);
    }
}

static inline dsv4_config preset(const char *name)
{
    dsv4_config config;
    dsv4_error err = {0};
    require_ok(dsv4_config_preset(name, &config, &err), &err);
    return config;
}

#endif
