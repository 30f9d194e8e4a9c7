/* cli/machine.h - what a measurement must know about the machine. */
#ifndef CLI_MACHINE_H
#define CLI_MACHINE_H

#include <stddef.h>

#include "dsv4/status.h"

typedef struct machine machine; /* its topology; read-only, any thread */

/* The caller closes it (NULL allowed there). */
DSV4_MUST_CHECK dsv4_status machine_open(machine **out, dsv4_error *err);
void machine_close(machine *m);

/* Bytes of all caches of the last level together; 256 MiB where the system does not tell. */
size_t machine_cache_bytes(const machine *m);

/* Bytes of the largest cache that a core has for itself; 512 KiB where the system does not tell. */
size_t machine_core_cache_bytes(const machine *m);

/* Bytes that can be allocated without swapping. */
size_t machine_free_bytes(void);

int machine_n_cores(const machine *m);

/* Binds the calling thread to the first hardware thread of a core, as pools bind worker `core`. Does nothing where the system
 * refuses. */
void machine_pin(const machine *m, int core);

#endif
