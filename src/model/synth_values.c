/* synth_values.c - the random values of one tensor, 16 bytes from one block of the generator. */
#include "model/synth_values.h"

#include <math.h>
#include <string.h>

#include "base/numbers.h"

static bool ends_with(const char *name, const char *end)
{
    const size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

/* The code of the power of two with which codes of that RMS become weights of 1/sqrt(k). */
static uint8_t scale_code(double rms, double k)
{
    return (uint8_t)(127 + lrint(-log2(rms * sqrt(k))));
}

static bool is_fp4(const model_config *config, const model_tensor *t)
{
    return t->group == MODEL_ROUTED_EXPERTS && config->expert_dtype == MODEL_EXPERT_FP4;
}

static void set_f32(synth_values *v, const model_config *config, const model_tensor *t)
{
    const int64_t hc = config->dims.hc_mult;
    if (t->n_dims == 2 && ends_with(t->name, "_fn")) {
        v->spread = (float)sqrt(3.0 / (double)t->shape[1]);
    } else if (ends_with(t->name, "_scale")) {
        v->middle = 0.3F;
        v->spread = 0.2F;
    } else if (ends_with(t->name, ".bias")) {
        v->spread = 0.05F;
    } else {
        v->spread = t->n_dims == 2 ? 0.2F : 1.0F;
    }
    if (ends_with(t->name, "_base") && t->shape[0] > hc) {
        v->diagonal_from = 2 * hc;
        v->diagonal_step = hc + 1;
    }
}

synth_values synth_values_of(const model_config *config, const model_tensor *t, uint64_t seed)
{
    /* RMS of all codes: e4m3 without its NaNs; e2m1 */
    const double rms_fp8 = 103.0, rms_fp4 = 2.93;
    synth_values v = {.random = {seed, rng_stream(t->name)},
                      .dtype = t->dtype,
                      .n_experts = config->n_routed_experts,
                      .n_chosen = config->num_experts_per_tok};
    switch (t->dtype) {
    case DSV4_F8_E8M0:
        v.scale_code = is_fp4(config, t) ? scale_code(rms_fp4, (double)(t->shape[1] * MODEL_FP4_BLOCK))
                                         : scale_code(rms_fp8, (double)(t->shape[1] * MODEL_FP8_BLOCK));
        break;
    case DSV4_BF16:
        v.middle = t->n_dims == 1 ? 1 : 0;
        v.spread = t->n_dims == 1 ? 0.1F : t->group == MODEL_EMBEDDING ? 1.0F : (float)sqrt(3.0 / (double)t->shape[1]);
        break;
    case DSV4_F32:
        set_f32(&v, config, t);
        break;
    default:
        break;
    }
    return v;
}

/* ---- blocks -------------------------------------------------------------------------------------------------------------------------- */

static void codes_without_nan(uint8_t *bytes)
{
    for (int i = 0; i < SYNTH_BLOCK; i++) {
        bytes[i] = (uint8_t)(bytes[i] - ((bytes[i] & 0x7f) == 0x7f));
    }
}

static void scales(const synth_values *v, uint8_t *bytes)
{
    for (int i = 0; i < SYNTH_BLOCK; i++) {
        bytes[i] = (uint8_t)(v->scale_code - (bytes[i] & 1));
    }
}

static void bf16(const synth_values *v, uint8_t *bytes)
{
    uint16_t values[SYNTH_BLOCK / 2];
    memcpy(values, bytes, sizeof values);
    for (int i = 0; i < SYNTH_BLOCK / 2; i++) {
        values[i] = num_bf16_from_f32(v->middle + v->spread * ((float)values[i] - 32767.5F) / 32768.0F);
    }
    memcpy(bytes, values, sizeof values);
}

static void f32(const synth_values *v, uint64_t block, uint8_t *bytes)
{
    uint32_t words[SYNTH_BLOCK / 4];
    float values[SYNTH_BLOCK / 4];
    memcpy(words, bytes, sizeof words);
    for (int i = 0; i < SYNTH_BLOCK / 4; i++) {
        const int64_t at = (int64_t)block * (SYNTH_BLOCK / 4) + i - v->diagonal_from;
        const bool is_diagonal = v->diagonal_step > 0 && at >= 0 && at % v->diagonal_step == 0;
        values[i] = v->middle + v->spread * ((float)(words[i] >> 8) / 8388608.0F - 1.0F) + (is_diagonal ? 3.0F : 0.0F);
    }
    memcpy(bytes, values, sizeof values);
}

/* Choice j of a token is among its own share of the experts, so that choices differ. */
static void experts(const synth_values *v, uint64_t block, uint8_t *bytes)
{
    uint64_t values[SYNTH_BLOCK / 8];
    memcpy(values, bytes, sizeof values);
    for (int i = 0; i < SYNTH_BLOCK / 8; i++) {
        const int64_t j = ((int64_t)block * (SYNTH_BLOCK / 8) + i) % v->n_chosen;
        const int64_t begin = j * v->n_experts / v->n_chosen, end = (j + 1) * v->n_experts / v->n_chosen;
        values[i] = (uint64_t)begin + values[i] % (uint64_t)(end - begin);
    }
    memcpy(bytes, values, sizeof values);
}

void synth_values_fill(const synth_values *v, uint64_t first, uint64_t n, uint8_t *out)
{
    for (uint64_t b = first; b < first + n; b++, out += SYNTH_BLOCK) {
        uint32_t words[4];
        rng_words(&v->random, b, words);
        memcpy(out, words, SYNTH_BLOCK);
        switch (v->dtype) {
        case DSV4_F8_E4M3:
            codes_without_nan(out);
            break;
        case DSV4_F8_E8M0:
            scales(v, out);
            break;
        case DSV4_BF16:
            bf16(v, out);
            break;
        case DSV4_F32:
            f32(v, b, out);
            break;
        case DSV4_I64:
            experts(v, b, out);
            break;
        default: /* FP4: every byte is two codes */
            break;
        }
    }
}
