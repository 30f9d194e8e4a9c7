#include "model/engine.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/graph.h"
#include "model/step_sizes.h"
#include "ops/tile.h"

enum { MAX_GRAPHS = 24 /* that are kept: the one not used for longest makes room */, MAX_STEP_TOKENS = 1 << 16 };

/* Where a sequence's tokens of the latest step lie among the kept streams. */
typedef struct kept_range {
    uint64_t sequence;     /* its id */
    int64_t row, n, start; /* n 0: none; start: position of the first */
} kept_range;

struct model_engine {
    const model_weights *weights;
    dsv4_pool *pool;
    model_engine_options options;
    model_kv *kv;
    void *streams;        /* [step_tokens, M*D]: of the latest step, for the draft block; NULL: the model has none */
    void *draft_streams;  /* the same: those of them that a draft run takes */
    size_t streams_bytes; /* of each */
    void *room;           /* for what passes between operators: of all graphs, as one runs at a time */
    size_t room_bytes;
    kept_range *kept; /* [n_sequences] */
    model_graph graphs[MAX_GRAPHS];
    int n_graphs;
    const model_graph *latest; /* graph that has run; NULL: none */
};

static bool has_draft(const model_engine *e)
{
    return e->weights->config.draft == MODEL_DRAFT_MTP && e->weights->n_blocks > e->weights->config.num_hidden_layers;
}

static bool uses_drafts(const model_engine *e)
{
    return e->options.drafts && has_draft(e);
}

/* ---- graphs as they would be ---------------------------------------------------------------------------------------------- */

static model_graph_options graph_options(const model_engine *e, model_step_size size)
{
    return (model_graph_options){.weights = e->weights,
                                 .numerics = e->options.numerics,
                                 .kv = e->kv,
                                 .pool = e->pool,
                                 .T = size.T,
                                 .n_logits = size.n_logits,
                                 .context = e->options.context,
                                 .kind = size.kind,
                                 .streams = size.kind == MODEL_GRAPH_DRAFT ? e->draft_streams : e->streams,
                                 .room = e->room,
                                 .room_bytes = e->room_bytes,
                                 .trace_level = e->options.trace_level};
}

static model_graph_size measure(const model_engine *e, model_step_size size)
{
    const model_graph_options options = graph_options(e, size);
    return model_graph_measure(&options);
}

static size_t largest_room(const model_engine *e)
{
    const int64_t n = e->options.step_tokens;
    const size_t trunk =
        measure(e, model_step_size_for(&e->options, MODEL_GRAPH_TRUNK, n, tile_max(e->options.step_logits, 1))).room;
    const size_t draft = uses_drafts(e) ? measure(e, model_step_size_for(&e->options, MODEL_GRAPH_DRAFT, n, 1)).room : 0;
    return trunk > draft ? trunk : draft;
}

/* ---- creation ------------------------------------------------------------------------------------------------------------ */

static dsv4_status check_options(const model_weights *w, const model_engine_options *o, dsv4_error *err)
{
    bool wants_int8 = o->numerics->rows == MODEL_ROWS_I8;
    if (wants_int8 != w->int8) {
        return dsv4_fail(err, DSV4_E_VALUE, "numerics %s take weights in %s, these are in %s", o->numerics->name,
                         wants_int8 ? "INT8" : "FP8", w->int8 ? "INT8" : "FP8");
    }
    if (o->n_sequences < 1 || o->n_sequences > INT32_MAX || o->context < 1 || o->context > INT32_MAX || o->step_tokens < 1 ||
        o->step_tokens > MAX_STEP_TOKENS || o->total_tokens < 0) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "engine: got %lld sequences, context %lld, %lld tokens a step, expected 1 at least and %d a step at most",
                         (long long)o->n_sequences, (long long)o->context, (long long)o->step_tokens, MAX_STEP_TOKENS);
    }
    return DSV4_OK;
}

/* Addresses for what steps pass on: memory comes as it is used. */
static dsv4_status reserve_rooms(model_engine *e, dsv4_error *err)
{
    const dsv4_config *d = &e->weights->config.dims;
    e->streams_bytes =
        (size_t)(e->options.step_tokens * d->hc_mult * d->hidden_size) * dsv4_dtype_bytes(e->options.numerics->dtype);
    e->streams = has_draft(e) ? memory_map(e->streams_bytes) : NULL;
    e->draft_streams = has_draft(e) ? memory_map(e->streams_bytes) : NULL;
    e->kept = calloc((size_t)e->options.n_sequences, sizeof *e->kept);
    e->room_bytes = largest_room(e);
    e->room = e->room_bytes == 0 ? NULL : memory_reserve(e->room_bytes);
    if (e->kept == NULL || e->room == NULL || (has_draft(e) && (e->streams == NULL || e->draft_streams == NULL))) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "engine: no memory for %lld tokens a step", (long long)e->options.step_tokens);
    }
    return DSV4_OK;
}

dsv4_status model_engine_create(const model_weights *weights, dsv4_pool *pool, const model_engine_options *options,
                                model_engine **out, dsv4_error *err)
{
    dsv4_status status = check_options(weights, options, err);
    model_engine *e = status == DSV4_OK ? calloc(1, sizeof *e) : NULL;
    if (e == NULL) {
        return status != DSV4_OK ? status : dsv4_fail(err, DSV4_E_NO_MEMORY, "engine: no memory");
    }
    *e = (model_engine){.weights = weights, .pool = pool, .options = *options};
    int64_t total = options->total_tokens > 0 ? options->total_tokens : options->n_sequences * options->context;
    status = model_kv_create(&weights->config, options->numerics, options->n_sequences, options->context, total, &e->kv, err);
    status = status == DSV4_OK ? reserve_rooms(e, err) : status;
    if (status != DSV4_OK) {
        model_engine_destroy(e);
        return status;
    }
    *out = e;
    return DSV4_OK;
}

void model_engine_destroy(model_engine *e)
{
    if (e == NULL) {
        return;
    }
    for (int i = 0; i < e->n_graphs; i++) {
        model_graph_deinit(&e->graphs[i]);
    }
    if (e->streams != NULL) {
        memory_unmap(e->streams, e->streams_bytes);
    }
    if (e->draft_streams != NULL) {
        memory_unmap(e->draft_streams, e->streams_bytes);
    }
    if (e->room != NULL) {
        memory_unmap(e->room, e->room_bytes);
    }
    free(e->kept);
    model_kv_destroy(e->kv);
    free(e);
}

model_kv *model_engine_kv(model_engine *e)
{
    return e->kv;
}

const model_weights *model_engine_weights(const model_engine *e)
{
    return e->weights;
}

const model_graph *model_engine_latest_graph(const model_engine *e)
{
    return e->latest;
}

/* ---- graphs, made when they are first needed ----------------------------------------------------------------------------- */

/* Graphs lie by their latest use. */
static model_graph *move_to_front(model_engine *e, int i)
{
    const model_graph g = e->graphs[i];
    memmove(e->graphs + 1, e->graphs, (size_t)i * sizeof *e->graphs);
    e->graphs[0] = g;
    return &e->graphs[0];
}

static dsv4_status find_graph(model_engine *e, model_graph_kind kind, int64_t n_rows, int64_t n_logits, model_graph **out,
                              dsv4_error *err)
{
    const model_step_size size = model_step_size_for(&e->options, kind, n_rows, n_logits);
    for (int i = 0; i < e->n_graphs; i++) {
        const model_graph *g = &e->graphs[i];
        if (g->kind == size.kind && g->T == size.T && g->n_logits == size.n_logits) {
            *out = move_to_front(e, i);
            return DSV4_OK;
        }
    }
    if (e->n_graphs == MAX_GRAPHS) {
        model_graph_deinit(&e->graphs[--e->n_graphs]);
    }
    const model_graph_options options = graph_options(e, size);
    const dsv4_status status = model_graph_init(&options, &e->graphs[e->n_graphs], err);
    if (status == DSV4_OK) {
        malloc_trim(0); /* sealing leaves several times of what it keeps */
        *out = move_to_front(e, e->n_graphs++);
    }
    return status;
}

dsv4_status model_engine_bytes(const model_weights *weights, dsv4_pool *pool, const model_engine_options *options,
                               int64_t prompt_tokens, size_t *n_bytes, dsv4_error *err)
{
    model_engine *e = NULL;
    model_step_size sizes[MODEL_MAX_STEP_SIZES];
    dsv4_status status = model_engine_create(weights, pool, options, &e, err);
    if (status != DSV4_OK) {
        return status;
    }
    const int n = model_step_sizes(&e->options, uses_drafts(e), prompt_tokens, sizes);
    size_t bytes = e->room_bytes + (e->streams != NULL ? (uses_drafts(e) ? 2 : 1) * e->streams_bytes : 0);
    for (int i = 0; i < n; i++) {
        bytes += measure(e, sizes[i]).own;
    }
    *n_bytes = bytes;
    model_engine_destroy(e);
    return DSV4_OK;
}

/* ---- a run --------------------------------------------------------------------------------------------------------------- */

/* Tokens of a feed that go into one run. */
typedef struct feed_part {
    const model_feed *feed;
    int64_t first, n;    /* of the feed's tokens */
    int64_t start;       /* position of the first */
    int64_t n_logits;    /* wanted of the last ones of the part */
    int64_t first_logit; /* row of feed->logits */
} feed_part;

static void fill_rows(step_rows *r, const feed_part *parts, int64_t n_parts)
{
    r->n = 0;
    r->n_logits = 0;
    for (int64_t i = 0; i < n_parts; i++) {
        const feed_part *p = &parts[i];
        int64_t first = r->n;
        for (int64_t j = 0; j < p->n; j++, r->n++) {
            r->token[r->n] = p->feed->tokens[p->first + j];
            r->position[r->n] = (int32_t)(p->start + j);
            r->slot[r->n] = p->feed->sequence->slot;
            r->first[r->n] = (int32_t)first;
            r->end[r->n] = (int32_t)(p->start + p->n);
            if (j >= p->n - p->n_logits) {
                r->logit_row[r->n_logits++] = (int32_t)r->n;
            }
        }
    }
}

static dsv4_status run(model_engine *e, model_graph_kind kind, const feed_part *parts, int64_t n_parts, dsv4_error *err)
{
    int64_t n_rows = 0, n_logits = 0;
    for (int64_t i = 0; i < n_parts; i++) {
        n_rows += parts[i].n;
        n_logits += parts[i].n_logits;
    }
    model_graph *g = NULL;
    dsv4_status status = find_graph(e, kind, n_rows, n_logits, &g, err);
    if (status != DSV4_OK) {
        return status;
    }
    fill_rows(g->rows, parts, n_parts);
    e->latest = g;
    status = dsv4_exec_run(g->exec, 0, err);
    for (int64_t i = 0, row = 0; i < n_parts && status == DSV4_OK; i++) {
        for (int64_t j = 0; j < parts[i].n_logits; j++) {
            model_graph_logits(g, row++, parts[i].feed->logits + (parts[i].first_logit + j) * e->weights->config.vocab_size);
        }
    }
    return status;
}

/* ---- steps --------------------------------------------------------------------------------------------------------------- */

/* Each feed's tokens fit the context, behind those that its sequence has. */
static dsv4_status check_room(const model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err)
{
    for (int64_t i = 0; i < n_feeds; i++) {
        const int64_t room = e->options.context - feeds[i].sequence->length;
        if (feeds[i].n_tokens > room) {
            return dsv4_fail(err, DSV4_E_VALUE, "step: sequence %lld of %lld tokens: got %lld more, the context is %lld",
                             (long long)i, (long long)feeds[i].sequence->length, (long long)feeds[i].n_tokens,
                             (long long)e->options.context);
        }
    }
    return DSV4_OK;
}

static dsv4_status check_feeds(const model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err)
{
    int64_t vocabulary = e->weights->config.vocab_size;
    for (int64_t i = 0; i < n_feeds; i++) {
        const model_feed *f = &feeds[i];
        if (f->n_tokens < 1 || f->n_logits < 0 || f->n_logits > f->n_tokens) {
            return dsv4_fail(err, DSV4_E_VALUE, "step: sequence %lld: got %lld tokens and %lld rows of logits", (long long)i,
                             (long long)f->n_tokens, (long long)f->n_logits);
        }
        for (int64_t j = 0; j < f->n_tokens; j++) {
            if (f->tokens[j] < 0 || f->tokens[j] >= vocabulary) {
                return dsv4_fail(err, DSV4_E_VALUE, "step: sequence %lld: got token %d, expected 0 to %lld", (long long)i,
                                 (int)f->tokens[j], (long long)vocabulary - 1);
            }
        }
        for (int64_t j = 0; j < i; j++) {
            if (feeds[j].sequence == f->sequence) {
                return dsv4_fail(err, DSV4_E_VALUE, "step: sequences %lld and %lld are the same", (long long)j, (long long)i);
            }
        }
    }
    return DSV4_OK;
}

/* The next run of a step: as many tokens as it takes, feed after feed. Returns the number of parts; 0: all is done. */
static int64_t next_parts(const model_engine *e, const model_feed *feeds, int64_t n_feeds, int64_t *done, feed_part *parts)
{
    int64_t room = e->options.step_tokens, n_parts = 0;
    for (int64_t i = 0; i < n_feeds && room > 0; i++) {
        const model_feed *f = &feeds[i];
        int64_t n = f->n_tokens - done[i] < room ? f->n_tokens - done[i] : room, logits_from = f->n_tokens - f->n_logits;
        if (n == 0) {
            continue;
        }
        int64_t from = done[i] > logits_from ? done[i] : logits_from, end = done[i] + n;
        parts[n_parts++] = (feed_part){f, done[i], n, f->sequence->length, end > from ? end - from : 0, from - logits_from};
        done[i] += n;
        room -= n;
    }
    return n_parts;
}

static void remember(model_engine *e, const feed_part *parts, int64_t n_parts)
{
    memset(e->kept, 0, (size_t)e->options.n_sequences * sizeof *e->kept);
    for (int64_t i = 0, row = 0; i < n_parts; i++) {
        e->kept[parts[i].feed->sequence->slot] = (kept_range){parts[i].feed->sequence->id, row, parts[i].n, parts[i].start};
        row += parts[i].n;
        model_sequence_append(parts[i].feed->sequence, parts[i].n);
    }
}

static dsv4_status run_steps(model_engine *e, const model_feed *feeds, int64_t n_feeds, int64_t *done, feed_part *parts,
                             dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int64_t i = 0; i < n_feeds && status == DSV4_OK; i++) {
        status = model_sequence_reserve(e->kv, feeds[i].sequence, feeds[i].n_tokens, err);
    }
    for (;;) {
        int64_t n_parts = status == DSV4_OK ? next_parts(e, feeds, n_feeds, done, parts) : 0;
        if (n_parts == 0) {
            return status;
        }
        status = run(e, MODEL_GRAPH_TRUNK, parts, n_parts, err);
        if (status == DSV4_OK) {
            remember(e, parts, n_parts);
        }
    }
}

dsv4_status model_engine_step(model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err)
{
    dsv4_status status = check_feeds(e, feeds, n_feeds, err);
    status = status == DSV4_OK ? check_room(e, feeds, n_feeds, err) : status;
    if (status != DSV4_OK || n_feeds == 0) {
        return status;
    }
    int64_t *done = calloc((size_t)n_feeds, sizeof *done);
    feed_part *parts = calloc((size_t)n_feeds, sizeof *parts);
    status = done == NULL || parts == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "step: no memory")
                                           : run_steps(e, feeds, n_feeds, done, parts, err);
    free(done);
    free(parts);
    return status;
}

/* ---- drafts -------------------------------------------------------------------------------------------------------------- */

/* The parts of a draft run, and their streams. */
static dsv4_status draft_parts(model_engine *e, const model_feed *feeds, int64_t n_feeds, feed_part *parts, dsv4_error *err)
{
    const size_t row_bytes = e->streams_bytes / (size_t)e->options.step_tokens;
    char *to = e->draft_streams;
    for (int64_t i = 0; i < n_feeds; i++) {
        const model_sequence *s = feeds[i].sequence;
        const kept_range *kept = &e->kept[s->slot];
        const int64_t left = kept->sequence != s->id ? 0 : tile_min(kept->n, s->length - kept->start);
        if (feeds[i].n_tokens > left) {
            return dsv4_fail(err, DSV4_E_VALUE, "draft: sequence %lld: got %lld tokens, the latest step left %lld", (long long)i,
                             (long long)feeds[i].n_tokens, (long long)tile_max(left, 0));
        }
        if (s->drafted < kept->start) {
            return dsv4_fail(err, DSV4_E_VALUE, "draft: sequence %lld: is at token %lld, the block has seen those before %lld",
                             (long long)i, (long long)kept->start, (long long)s->drafted);
        }
        parts[i] = (feed_part){&feeds[i], 0, feeds[i].n_tokens, kept->start, feeds[i].n_logits, 0};
        memcpy(to, (const char *)e->streams + (size_t)kept->row * row_bytes, (size_t)feeds[i].n_tokens * row_bytes);
        to += (size_t)feeds[i].n_tokens * row_bytes;
    }
    return DSV4_OK;
}

dsv4_status model_engine_draft(model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err)
{
    if (!has_draft(e)) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "draft: this model has no block that predicts a second token");
    }
    dsv4_status status = check_feeds(e, feeds, n_feeds, err);
    feed_part *parts = status == DSV4_OK ? calloc((size_t)(n_feeds + 1), sizeof *parts) : NULL;
    if (parts == NULL) {
        return status != DSV4_OK ? status : dsv4_fail(err, DSV4_E_NO_MEMORY, "draft: no memory");
    }
    status = draft_parts(e, feeds, n_feeds, parts, err);
    status = status == DSV4_OK ? run(e, MODEL_GRAPH_DRAFT, parts, n_feeds, err) : status;
    for (int64_t i = 0; i < n_feeds && status == DSV4_OK; i++) {
        feeds[i].sequence->drafted = parts[i].start + parts[i].n;
    }
    free(parts);
    return status;
}
