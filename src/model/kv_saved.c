#include "model/kv_saved.h"

#include "base/checksum.h"
#include <string.h>

static const char magic[8] = {'D', 'S', 'V', '4', 'S', 'E', 'Q', '\n'};

_Static_assert(sizeof(saved_header) == 16 + SAVED_NAME_BYTES + SAVED_NUMERICS_BYTES + 8 * (SAVED_N_INTS + SAVED_N_REALS + 5),
               "no padding");

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

dsv4_status saved_header_make(const model_kv *kv, const model_sequence *s, const char *model, saved_header *out, dsv4_error *err)
{
    const model_config *c = &kv->config;
    if (strlen(model) >= SAVED_NAME_BYTES) {
        return dsv4_fail(err, DSV4_E_VALUE, "saved sequence: name of the model has %zu bytes, expected at most %d", strlen(model),
                         SAVED_NAME_BYTES - 1);
    }
    memset(out, 0, sizeof *out);
    memcpy(out->magic, magic, sizeof magic);
    strcpy(out->model, model);
    strncpy(out->numerics, kv->numerics.name, SAVED_NUMERICS_BYTES - 1);
    out->version = SAVED_VERSION;
    out->n_blocks = model_config_n_blocks(c);
    out->rollback = MODEL_ROLLBACK;
    out->ratios = checksum_add(0, c->compress_ratio, out->n_blocks * sizeof c->compress_ratio[0]);
    out->length = s->length;
    out->drafted = least(s->drafted, s->length);
    out->oldest = most(s->oldest, s->length - MODEL_ROLLBACK);
    int64_t *i = out->ints;
    double *r = out->reals;
#define SAVED_SET_INT(field) *i++ = c->field;
#define SAVED_SET_REAL(field) *r++ = c->field;
    SAVED_INT_LIST(SAVED_SET_INT)
    SAVED_REAL_LIST(SAVED_SET_REAL)
#undef SAVED_SET_INT
#undef SAVED_SET_REAL
    return DSV4_OK;
}

static dsv4_status check_numbers(const saved_header *found, const saved_header *want, const char *source, dsv4_error *err)
{
    static const char *const ints[] = {
#define SAVED_NAME(field) #field,
        SAVED_INT_LIST(SAVED_NAME)};
    static const char *const reals[] = {SAVED_REAL_LIST(SAVED_NAME)};
#undef SAVED_NAME
    for (int i = 0; i < SAVED_N_INTS; i++) {
        if (found->ints[i] != want->ints[i]) {
            return dsv4_fail(err, DSV4_E_VALUE, "%.200s: saved with another model: %s is %lld, expected %lld", source, ints[i],
                             (long long)found->ints[i], (long long)want->ints[i]);
        }
    }
    for (int i = 0; i < SAVED_N_REALS; i++) {
        if (!(found->reals[i] == want->reals[i])) {
            return dsv4_fail(err, DSV4_E_VALUE, "%.200s: saved with another model: %s is %g, expected %g", source, reals[i],
                             found->reals[i], want->reals[i]);
        }
    }
    if (found->n_blocks != want->n_blocks || found->ratios != want->ratios || found->rollback != want->rollback) {
        return dsv4_fail(err, DSV4_E_VALUE, "%.200s: saved with another model: its blocks or their compress_ratios differ", source);
    }
    return DSV4_OK;
}

dsv4_status saved_header_check(const model_kv *kv, const saved_header *found, const char *model, const char *source,
                               dsv4_error *err)
{
    saved_header want;
    dsv4_status status = saved_header_make(kv, &(model_sequence){.slot = 0}, model, &want, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (memcmp(found->magic, magic, sizeof magic) != 0) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: no saved sequence", source);
    }
    if (found->version != SAVED_VERSION) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: saved sequence of version %u, expected %d", source, found->version,
                         SAVED_VERSION);
    }
    if (memcmp(found->numerics, want.numerics, sizeof want.numerics) != 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%.200s: saved with numerics '%.*s', expected '%s'", source, SAVED_NUMERICS_BYTES - 1,
                         found->numerics, want.numerics);
    }
    if (memcmp(found->model, want.model, sizeof want.model) != 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%.150s: saved with model '%.100s', expected '%.100s'", source, found->model,
                         want.model);
    }
    status = check_numbers(found, &want, source, err);
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t room = kv->table_pages * MODEL_PAGE_TOKENS;
    if (found->length < 0 || found->drafted < 0 || found->drafted > found->length || found->oldest < 0 ||
        found->oldest > found->length || found->length - found->oldest > MODEL_ROLLBACK) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: got length %lld, drafted %lld, oldest %lld, which no sequence has", source,
                         (long long)found->length, (long long)found->drafted, (long long)found->oldest);
    }
    if (found->length > room) {
        return dsv4_fail(err, DSV4_E_VALUE, "%.200s: sequence of %lld tokens, expected at most %lld", source,
                         (long long)found->length, (long long)room);
    }
    return DSV4_OK;
}

/* Tokens that a block has seen, and how few they can become. */
typedef struct live {
    int64_t end, oldest;
} live;

static live live_of(const model_kv *kv, const model_sequence *s, int block)
{
    const int64_t end = block < kv->config.num_hidden_layers ? s->length : least(s->drafted, s->length);
    return (live){end, least(end, most(s->oldest, s->length - MODEL_ROLLBACK))};
}

static int64_t first_live(live l, int64_t ring_rows)
{
    return most(0, l.oldest - (ring_rows - MODEL_ROLLBACK) + 1);
}

static bool walk_states(const model_kv *kv, int slot, int block, live l, saved_visit *visit, void *context)
{
    const model_kv_block *b = &kv->blocks[block];
    const size_t offsets[] = {b->kv, b->score, b->index_kv, b->index_score};
    const int64_t columns[] = {b->out, b->out, b->index_out, b->index_out};
    for (int i = 0; i < 4; i++) {
        for (int64_t p = first_live(l, b->state_rows); p < l.end && columns[i] > 0; p++) {
            if (!visit(context, model_kv_state(kv, block, slot, offsets[i], columns[i], p), (size_t)columns[i] * sizeof(float),
                       false)) {
                return false;
            }
        }
    }
    return true;
}

static bool walk_entries(const model_kv *kv, int slot, int block, size_t offset, int64_t width, int64_t n, saved_visit *visit,
                         void *context)
{
    const int64_t per_page = MODEL_PAGE_TOKENS / kv->blocks[block].ratio;
    for (int64_t e = 0; e < n; e += per_page) {
        const int64_t n_here = least(per_page, n - e);
        if (!visit(context, model_kv_entry(kv, block, slot, offset, width, e), (size_t)(n_here * width) * kv->elem, true)) {
            return false;
        }
    }
    return true;
}

static bool walk_block(const model_kv *kv, const model_sequence *s, int block, saved_visit *visit, void *context)
{
    const model_kv_block *b = &kv->blocks[block];
    const int64_t hd = kv->config.dims.head_dim, id = kv->config.dims.index_head_dim;
    const live l = live_of(kv, s, block);
    for (int64_t p = first_live(l, kv->window_rows); p < l.end; p++) {
        if (!visit(context, model_kv_window(kv, block, s->slot, p), (size_t)hd * kv->elem, true)) {
            return false;
        }
    }
    if (b->ratio == 0) {
        return true;
    }
    return walk_states(kv, s->slot, block, l, visit, context) &&
           walk_entries(kv, s->slot, block, b->entries, hd, l.end / b->ratio, visit, context) &&
           (b->index_out == 0 || walk_entries(kv, s->slot, block, b->index_entries, id, l.end / b->ratio, visit, context));
}

bool saved_walk(const model_kv *kv, const model_sequence *s, saved_visit *visit, void *context)
{
    for (int i = 0; i < model_config_n_blocks(&kv->config); i++) {
        if (!walk_block(kv, s, i, visit, context)) {
            return false;
        }
    }
    return true;
}

size_t saved_file_bytes(const model_kv *kv, const model_sequence *s)
{
    const int64_t hd = kv->config.dims.head_dim, id = kv->config.dims.index_head_dim, elem = (int64_t)kv->elem;
    int64_t sum = (int64_t)sizeof(saved_header) + s->length * (int64_t)sizeof(int32_t) + (int64_t)sizeof(uint32_t);
    for (int i = 0; i < model_config_n_blocks(&kv->config); i++) {
        const model_kv_block *b = &kv->blocks[i];
        const live l = live_of(kv, s, i);
        sum += (l.end - first_live(l, kv->window_rows)) * hd * elem;
        if (b->ratio > 0) {
            sum += (l.end - first_live(l, b->state_rows)) * 2 * (b->out + b->index_out) * (int64_t)sizeof(float);
            sum += l.end / b->ratio * (hd + (b->index_out > 0 ? id : 0)) * elem;
        }
    }
    return (size_t)sum;
}
