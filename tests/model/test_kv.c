/* Memory of sequences against a plain one that stores all of each sequence: forks, cuts, files, in any order. */
#include <sys/resource.h>

#include "base/rng.h"
#include "model/kv.h"
#include "model_files.h"

enum { SLOTS = 6, MAX_TOKENS = 1600, HD = 8, ID = 4, WINDOW = 5, OPERATIONS = 4000 };

static model_config small_config(void)
{
    model_config c = {.num_hidden_layers = 3, .n_draft_blocks = 1, .vocab_size = 1 << 20, .draft = MODEL_DRAFT_MTP};
    c.dims.head_dim = HD;
    c.dims.index_head_dim = ID;
    c.dims.sliding_window = WINDOW;
    c.compress_ratio[1] = 4;
    c.compress_ratio[2] = 128;
    return c;
}

static model_kv *create(const char *numerics, int64_t n_tokens)
{
    const model_config c = small_config();
    const model_numerics *n = NULL;
    model_kv *kv = NULL;
    dsv4_error err = {0};
    require_ok(model_numerics_find(numerics, &n, &err), &err);
    require_ok(model_kv_create(&c, n, SLOTS, MAX_TOKENS, n_tokens, &kv, &err), &err);
    return kv;
}

typedef struct draws {
    rng r;
    uint64_t i;
} draws;

static uint64_t draw(draws *d, uint64_t n)
{
    return rng_below(&d->r, d->i++, n);
}

/* The plain memory: the token at each position; every row is made from it. */
typedef struct plain {
    model_sequence *s;
    int32_t token[4 * MODEL_PAGE_TOKENS];
} plain;

/* A finite value for each row: BF16 patterns or floats below 2. */
static uint8_t row_byte(int64_t position, int32_t token, int kind)
{
    return (uint8_t)((uint64_t)(position * 131 + token * 7 + kind * 29) % 61);
}

static void put_or_check(bool put, void *row, size_t n_bytes, int64_t position, int32_t token, int kind)
{
    uint8_t want[64 * sizeof(float)];
    assert_true(n_bytes <= sizeof want);
    memset(want, row_byte(position, token, kind), n_bytes);
    if (put) {
        memcpy(row, want, n_bytes);
    } else if (memcmp(row, want, n_bytes) != 0) {
        fail_msg("row of kind %d at position %lld has %d, expected %d", kind, (long long)position, *(uint8_t *)row, want[0]);
    }
}

static void each_state(const model_kv *kv, bool put, int block, int slot, int64_t p, int32_t token)
{
    const model_kv_block *b = &kv->blocks[block];
    const size_t offsets[] = {b->kv, b->score, b->index_kv, b->index_score};
    const int64_t columns[] = {b->out, b->out, b->index_out, b->index_out};
    for (int i = 0; i < 4; i++) {
        if (columns[i] > 0) {
            put_or_check(put, model_kv_state(kv, block, slot, offsets[i], columns[i], p), (size_t)columns[i] * sizeof(float), p,
                         token, 8 * block + i);
        }
    }
}

/* An entry is of its last token. */
static void each_entry(const model_kv *kv, bool put, int block, int slot, int64_t entry, int32_t token)
{
    const model_kv_block *b = &kv->blocks[block];
    put_or_check(put, model_kv_entry(kv, block, slot, b->entries, HD, entry), HD * kv->elem, entry, token, 8 * block + 4);
    if (b->index_out > 0) {
        put_or_check(put, model_kv_entry(kv, block, slot, b->index_entries, ID, entry), ID * kv->elem, entry, token, 8 * block + 5);
    }
}

static void append(model_kv *kv, plain *q, int64_t n, draws *random)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t p = q->s->length;
        const int32_t token = q->token[p] = (int32_t)draw(random, 1 << 20);
        for (int block = 0; block < 4; block++) {
            const int ratio = kv->blocks[block].ratio;
            put_or_check(true, model_kv_window(kv, block, q->s->slot, p), HD * kv->elem, p, token, 8 * block + 6);
            if (ratio > 0) {
                each_state(kv, true, block, q->s->slot, p, token);
            }
            if (ratio > 0 && p % ratio == ratio - 1) {
                each_entry(kv, true, block, q->s->slot, p / ratio, token);
            }
        }
        model_sequence_append(q->s, 1);
        q->s->drafted = q->s->length;
    }
}

/* All that the next token may read, were the sequence cut to `oldest` first. */
static void check(const model_kv *kv, const plain *q)
{
    for (int block = 0; block < 4; block++) {
        const int ratio = kv->blocks[block].ratio, slot = q->s->slot, back = ratio == 4 ? 8 : ratio;
        for (int64_t p = q->s->length - 1; p >= 0 && p > q->s->oldest - WINDOW; p--) {
            put_or_check(false, model_kv_window(kv, block, slot, p), HD * kv->elem, p, q->token[p], 8 * block + 6);
        }
        for (int64_t p = q->s->length - 1; ratio > 0 && p >= 0 && p > q->s->oldest - back; p--) {
            each_state(kv, false, block, slot, p, q->token[p]);
        }
        for (int64_t e = 0; ratio > 0 && e < q->s->length / ratio; e++) {
            each_entry(kv, false, block, slot, e, q->token[e * ratio + ratio - 1]);
        }
    }
}

static int count_users(const model_kv *kv)
{
    int sum = 0;
    for (int64_t i = 0; i < kv->n_pages; i++) {
        assert_true(kv->page_users[i] >= 0);
        sum += kv->page_users[i];
    }
    return sum;
}

static const char *saved_path(void)
{
    static char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s/kv_%d.saved", TEST_TEMPORARY, (int)getpid());
    return path;
}

/* The sequence leaves memory through a file and comes back, where a slot is free. */
static void save_close_restore(model_kv *kv, plain *q)
{
    dsv4_error err = {0};
    int32_t *tokens = NULL;
    const model_sequence before = *q->s;
    require_ok(model_sequence_save(kv, q->s, "small", q->token, saved_path(), &err), &err);
    model_sequence_close(kv, q->s);
    require_ok(model_sequence_restore(kv, "small", saved_path(), &q->s, &tokens, &err), &err);
    assert_true(q->s->length == before.length && q->s->drafted == before.drafted && q->s->oldest == before.oldest);
    assert_memory_equal(tokens, q->token, (size_t)before.length * sizeof *tokens);
    free(tokens);
}

static void fork_into(model_kv *kv, plain *all, plain *from)
{
    dsv4_error err = {0};
    for (int i = 0; i < SLOTS; i++) {
        if (all[i].s == NULL) {
            memcpy(all[i].token, from->token, sizeof from->token);
            require_ok(model_sequence_fork(kv, from->s, &all[i].s, &err), &err);
            return;
        }
    }
    model_sequence *none = NULL;
    assert_int_equal(model_sequence_fork(kv, from->s, &none, &err), DSV4_E_VALUE);
}

static void operate(model_kv *kv, plain *all, plain *q, draws *random)
{
    dsv4_error err = {0};
    const uint64_t what = draw(random, 16);
    const int64_t n = (int64_t)draw(random, draw(random, 4) == 0 ? 600 : 20);
    if (q->s == NULL) {
        require_ok(model_sequence_open(kv, &q->s, &err), &err);
    } else if (what < 8) {
        const int users = count_users(kv);
        if (model_sequence_reserve(kv, q->s, n, &err) == DSV4_OK) {
            append(kv, q, n, random);
        } else {
            assert_int_equal(count_users(kv), users);
        }
    } else if (what < 11) {
        fork_into(kv, all, q);
    } else if (what < 13) {
        const int64_t room = q->s->length - q->s->oldest;
        require_ok(model_sequence_truncate(kv, q->s, q->s->length - (int64_t)draw(random, (uint64_t)(room + 1)), &err), &err);
    } else if (what == 13 && n < 5) {
        require_ok(model_sequence_truncate(kv, q->s, 0, &err), &err);
    } else if (what == 14 && n < 12 && count_users(kv) < kv->n_pages - 4) {
        save_close_restore(kv, q);
    } else if (what == 15) {
        model_sequence_close(kv, q->s);
        q->s = NULL;
    }
}

static void check_random(const char *numerics, int64_t n_tokens, uint64_t seed)
{
    static plain all[SLOTS];
    memset(all, 0, sizeof all);
    model_kv *kv = create(numerics, n_tokens);
    draws random = {.r.seed = seed};
    for (int i = 0; i < OPERATIONS; i++) {
        plain *q = &all[draw(&random, SLOTS)];
        operate(kv, all, q, &random);
        if (i % 8 == 0) {
            for (int k = 0; k < SLOTS; k++) {
                if (all[k].s != NULL) {
                    check(kv, &all[k]);
                }
            }
        }
    }
    for (int k = 0; k < SLOTS; k++) {
        model_sequence_close(kv, all[k].s);
    }
    assert_int_equal(count_users(kv), 0);
    model_kv_destroy(kv);
    unlink(saved_path());
}

static void random_operations_lose_nothing(void **state)
{
    (void)state;
    check_random("bf16", SLOTS * MAX_TOKENS, 1);
    check_random("exact", SLOTS * MAX_TOKENS, 2);
    check_random("bf16", 2 * MAX_TOKENS, 3); /* pages run out */
}

static void refuses_what_has_no_room(void **state)
{
    (void)state;
    model_kv *kv = create("bf16", 1024);
    model_sequence *s = NULL, *more = NULL;
    dsv4_error err = {0};
    require_ok(model_sequence_open(kv, &s, &err), &err);
    assert_int_equal(model_sequence_reserve(kv, s, 4 * MODEL_PAGE_TOKENS + 1, &err), DSV4_E_VALUE);
    require_ok(model_sequence_reserve(kv, s, 40, &err), &err);
    s->length = 40;
    s->oldest = 24;
    assert_int_equal(model_sequence_truncate(kv, s, 23, &err), DSV4_E_VALUE);
    assert_int_equal(model_sequence_truncate(kv, s, 41, &err), DSV4_E_VALUE);
    require_ok(model_sequence_truncate(kv, s, 24, &err), &err);
    assert_int_equal(model_sequence_truncate(kv, s, 23, &err), DSV4_E_VALUE);
    for (int i = 1; i < SLOTS; i++) {
        require_ok(model_sequence_open(kv, &more, &err), &err);
    }
    assert_int_equal(model_sequence_open(kv, &more, &err), DSV4_E_VALUE);
    model_kv_destroy(kv);
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void rounds_do_not_grow(void **state)
{
    (void)state;
    model_kv *kv = create("exact", SLOTS * MAX_TOKENS);
    dsv4_error err = {0};
    long peak = 0;
    for (int i = 0; i < 10000; i++) {
        model_sequence *s = NULL;
        require_ok(model_sequence_open(kv, &s, &err), &err);
        require_ok(model_sequence_reserve(kv, s, 700, &err), &err);
        memset(model_kv_entry(kv, 1, s->slot, kv->blocks[1].entries, HD, 0), i, 128 * HD * kv->elem);
        memset(model_kv_window(kv, 0, s->slot, 0), i, HD * kv->elem);
        assert_true(kv->tables[s->slot * kv->table_pages] < 2);
        model_sequence_close(kv, s);
        peak = i == 100 ? peak_kib() : peak;
    }
    assert_true(peak_kib() - peak < 1024);
    model_kv_destroy(kv);
}

/* Flash by hand: a slot has 44 windows, 21 pairs of overlapping states and of the indexer's, 20 of ratio 128. */
static void bytes_are_those_of_flash(void **state)
{
    (void)state;
    model_config c;
    dsv4_error err = {0};
    require_ok(model_config_read(CONFIGS "/flash.json", &c, &err), &err);
    const double window = 44.0 * 144 * 512, states = 21.0 * 24 * 2 * (1024 + 256) * 4 + 20.0 * 144 * 2 * 512 * 4,
                 page = 21.0 * 128 * (512 + 128) + 20.0 * 4 * 512;
    const model_numerics *bf16 = &model_numerics_table[2], *exact = &model_numerics_table[3];
    const double want = 8 * (2 * window + states) + 8 * 16 * 2 * page, want_wide = 8 * (4 * window + states) + 8 * 16 * 4 * page;
    const double got = (double)model_kv_bytes(&c, bf16, 8, 8 * 16 * 512), wide = (double)model_kv_bytes(&c, exact, 8, 8 * 16 * 512);
    assert_true(got > want * 0.95 && got < want * 1.05);
    assert_true(wide > want_wide * 0.95 && wide < want_wide * 1.05);
    assert_true(model_kv_bytes(&c, exact, INT64_MAX, INT64_MAX) == SIZE_MAX);
}

/* A million tokens for a hundred sequences is address space alone. */
static void large_ones_take_no_memory(void **state)
{
    (void)state;
    model_config c;
    model_kv *kv = NULL;
    dsv4_error err = {0};
    const long before = peak_kib();
    require_ok(model_config_read(CONFIGS "/flash.json", &c, &err), &err);
    require_ok(model_kv_create(&c, &model_numerics_table[0], 100, 1 << 20, 100 << 20, &kv, &err), &err);
    assert_true(peak_kib() - before < 16 * 1024);
    model_kv_destroy(kv);
    assert_int_equal(model_kv_create(&c, &model_numerics_table[0], 0, 1, 1, &kv, &err), DSV4_E_VALUE);
}

static void save_sample(model_kv *kv, plain *q)
{
    dsv4_error err = {0};
    draws random = {.r.seed = 5};
    require_ok(model_sequence_open(kv, &q->s, &err), &err);
    require_ok(model_sequence_reserve(kv, q->s, 150, &err), &err);
    append(kv, q, 150, &random);
    require_ok(model_sequence_save(kv, q->s, "small", q->token, saved_path(), &err), &err);
    model_sequence_close(kv, q->s);
}

static void require_refused(model_kv *kv, const char *model, const char *word)
{
    dsv4_error err = {0};
    model_sequence *s = NULL;
    int32_t *tokens = NULL;
    assert_int_not_equal(model_sequence_restore(kv, model, saved_path(), &s, &tokens, &err), DSV4_OK);
    assert_true(s == NULL && tokens == NULL);
    assert_non_null(strstr(err.text, word));
    assert_int_equal(count_users(kv), 0);
    for (int i = 0; i < SLOTS; i++) {
        assert_int_equal(kv->sequences[i].slot, -1);
    }
}

static void write_file(const char *bytes, size_t n)
{
    FILE *f = fopen(saved_path(), "wb");
    assert_true(f != NULL && fwrite(bytes, 1, n, f) == n);
    fclose(f);
}

static void foreign_and_damaged_files_are_refused(void **state)
{
    (void)state;
    static plain q;
    model_kv *kv = create("bf16", SLOTS * MAX_TOKENS), *wide = create("exact", SLOTS * MAX_TOKENS);
    char *bytes = NULL;
    size_t n = 0;
    dsv4_error err = {0};
    save_sample(kv, &q);
    require_refused(kv, "other", "small");
    require_refused(wide, "small", "numerics");
    kv->config.dims.head_dim++;
    require_refused(kv, "small", "head_dim");
    kv->config.dims.head_dim--;
    kv->config.compress_ratio[2] = 4;
    require_refused(kv, "small", "compress_ratio");
    kv->config.compress_ratio[2] = 128;
    require_ok(file_read(saved_path(), 1 << 20, &bytes, &n, &err), &err);
    for (size_t i = 0; i < n; i += i < 600 ? 1 : 97) { /* any byte */
        bytes[i] ^= 0x10;
        write_file(bytes, n);
        require_refused(kv, "small", "kv_");
        bytes[i] ^= 0x10;
    }
    for (size_t i = 0; i < n; i += 61) { /* any length */
        write_file(bytes, i);
        require_refused(kv, "small", "kv_");
    }
    unlink(saved_path());
    require_refused(kv, "small", "cannot read");
    free(bytes);
    model_kv_destroy(kv);
    model_kv_destroy(wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_ones_take_no_memory), cmocka_unit_test(random_operations_lose_nothing),
        cmocka_unit_test(refuses_what_has_no_room),  cmocka_unit_test(rounds_do_not_grow),
        cmocka_unit_test(bytes_are_those_of_flash),  cmocka_unit_test(foreign_and_damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
