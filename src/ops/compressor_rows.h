/* ops/compressor_rows.h - rows for the tables of all operators that have a compressor: its weights, its state, the index cache. */
#ifndef OPS_COMPRESSOR_ROWS_H
#define OPS_COMPRESSOR_ROWS_H

#include "ops/table.h"

/* ratio "4" or "128"; out: extent of a projection, width: of a pooled row; deviations and a mean of the checkpoint (SPEC 8). */
#define ROWS_COMPRESSOR(prefix, ratio, out, width, wkv_sd, wgate_sd, ape_sd, norm_mean, norm_sd)                          \
    ROW_IN(prefix "wkv", DSV4_BF16, out ",D", "compressor: projection to values", DRAW_NORMAL(0, wkv_sd)),                \
        ROW_IN(prefix "wgate", DSV4_BF16, out ",D", "compressor: projection to scores", DRAW_NORMAL(0, wgate_sd)),        \
        ROW_IN(prefix "ape", DSV4_F32, ratio "," out, "compressor: position bias of the scores", DRAW_NORMAL(0, ape_sd)), \
        ROW_IN(prefix "norm_w", DSV4_BF16, width, "compressor: RMS weight", DRAW_NORMAL(norm_mean, norm_sd))

#define ROWS_COMPRESSOR_CSA(prefix) ROWS_COMPRESSOR(prefix, "4", "2*hd", "hd", 0.0245, 0.0388, 0.1243, 0.9666, 0.1929)
#define ROWS_COMPRESSOR_HCA(prefix) ROWS_COMPRESSOR(prefix, "128", "hd", "hd", 0.0246, 0.0316, 0.0340, 0.1001, 0.0549)
#define ROWS_COMPRESSOR_INDEX(prefix) ROWS_COMPRESSOR(prefix, "4", "2*ID", "ID", 0.0293, 0.0512, 0.1528, 0.6850, 0.2610)

/* FP32 state. */
#define ROW_STATE(name, shape, meaning, ...) \
    OP_BRACED(name, DSV4_F32, OP_INOUT, shape, meaning, __VA_ARGS__, NULL, RULE_RATIO(1e-3, 1e-3, 0))

/* BF16, or I8 with a scale per row. */
#define ROW_INDEX_CACHE(fixture, ...) \
    OP_BRACED("idx_kv_cache", DSV4_BF16, OP_INOUT | OP_OR_I8, "IP,BS,1,ID", "compressed index keys", fixture, NULL, __VA_ARGS__)
#define ROW_INDEX_SCALE(...) \
    OP_BRACED(OP_SCALE_OF_I8, DSV4_F32, OP_INOUT | OP_OPTIONAL, "IP,BS,1,1", "scale of a row of I8", DRAW_NONE, NULL, __VA_ARGS__)

#endif
