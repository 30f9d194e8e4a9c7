/* cli/bench/peers/dnnl.h - products by oneDNN 2.x, on its own OpenMP threads. One thread calls. */
#ifndef CLI_BENCH_PEERS_DNNL_H
#define CLI_BENCH_PEERS_DNNL_H

#include <stdint.h>

#include "dsv4/status.h"

/* Activations x weights -> sums: FP32, or INT32 of INT8 weights. */
typedef enum peer_dnnl_types {
    PEER_DNNL_BF16_BF16,
    PEER_DNNL_F32_BF16,
    PEER_DNNL_F32_F32,
    PEER_DNNL_S8_S8,
    PEER_DNNL_U8_S8,
    PEER_DNNL_N_TYPES
} peer_dnnl_types;

typedef struct peer_dnnl peer_dnnl;

/* y[m,n] = x[m,k] w[k,n]. weights: the plain row-major [k, n], of the type of the product; n_copies of it are stored in the layout
 * that oneDNN prefers. The sums and activations (small positive values at first) are the product's own. DSV4_E_UNSUPPORTED where
 * oneDNN has no such product. The caller destroys it (NULL allowed there). */
DSV4_MUST_CHECK dsv4_status peer_dnnl_create(peer_dnnl_types types, int64_t m, int64_t k, int64_t n, const void *weights,
                                             int n_copies, peer_dnnl **out, dsv4_error *err);
void peer_dnnl_destroy(peer_dnnl *p);

/* Row-major [m, k] and [m, n]. */
void *peer_dnnl_x(peer_dnnl *p);
const void *peer_dnnl_y(const peer_dnnl *p);

/* With one copy of the weights. */
void peer_dnnl_run(peer_dnnl *p, int copy);

/* "2.6.3" */
const char *peer_dnnl_version(void);

#endif
