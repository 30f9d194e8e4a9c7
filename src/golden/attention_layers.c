/* golden/attention_layers.c - the attention layers: SWA (ratio 0), CSA (4) and HCA (128), decode and prefill (SPEC 6.10).
 *
 * MATH      composition.c, composition_cache.c; the keys: decode_keys.c, prefill_keys.c
 * SHAPES    composition.c, composition_cache.c, decode_keys.c, prefill_keys.c
 * NUMERICS  those of the parts. */
#include "golden/composition.h"

static dsv4_status run(const dsv4_config *config, const dsv4_numerics *numerics, bool is_prefill, int64_t ratio,
                       const dsv4_tensor_list *in, dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    golden_composition c;
    golden_keys keys;
    dsv4_status status = golden_composition_begin(&c, config, numerics, is_prefill, ratio, in, err);
    if (status == DSV4_OK) {
        status = golden_composition_front(&c, err);
    }
    if (status == DSV4_OK && ratio > 0) {
        status = golden_composition_compress(&c, err);
    }
    if (status == DSV4_OK) {
        status = is_prefill ? golden_prefill_keys(&c, &keys, err) : golden_decode_keys(&c, &keys, err);
    }
    if (status == DSV4_OK) {
        status = golden_composition_finish(&c, &keys, out, p, err);
    }
    golden_composition_end(&c);
    return status;
}

#define LAYER(name, is_prefill, ratio)                                                                              \
    dsv4_status golden_##name(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in, \
                              dsv4_tensor_list *out, progress *p, dsv4_error *err)                                  \
    {                                                                                                               \
        return run(config, numerics, is_prefill, ratio, in, out, p, err);                                           \
    }

LAYER(decode_attention_swa, false, 0)
LAYER(decode_attention_csa, false, 4)
LAYER(decode_attention_hca, false, 128)
LAYER(prefill_attention_swa, true, 0)
LAYER(prefill_attention_csa, true, 4)
LAYER(prefill_attention_hca, true, 128)
