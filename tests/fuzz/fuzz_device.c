/* Any bytes: either a one-line error, or a description that obeys its rules, and still does after a change. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "sim/device.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    sim_device d = {0};
    dsv4_error err = {0};
    if (sim_device_parse("fuzz", (const char *)bytes, n_bytes, &d, &err) != DSV4_OK) {
        if (err.text[0] == '\0') {
            abort();
        }
        sim_device_deinit(&d);
        return 0;
    }
    char *set = malloc(n_bytes + 1); /* the text again, as a change: most are refused */
    for (size_t i = 0; set != NULL && i <= n_bytes; i++) {
        set[i] = i < n_bytes ? (char)bytes[i] : '\0';
    }
    if (set != NULL && sim_device_set(&d, set, &err) == DSV4_OK) {
        abort(); /* no JSON text is PATH=VALUE */
    }
    if (sim_device_set(&d, "overlap=0.25", &err) != DSV4_OK || sim_device_check(&d, "fuzz", &err) != DSV4_OK) {
        abort();
    }
    free(set);
    sim_device_deinit(&d);
    return 0;
}
