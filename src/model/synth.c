/* synth.c - a checkpoint with random weights: its configuration, shards and index. */
#include "model/synth.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "model/synth_values.h"
#include "rt/pool.h"

enum { CHUNK_BYTES = 32 << 20, SHARED_BYTES = 1 << 16 /* from which on workers share a chunk */ };

static const char config_name[] = "config.json", index_name[] = "model.safetensors.index.json";

typedef struct synth_run {
    const char *folder;
    const model_synth_options *options;
    dsv4_pool *pool;
    struct progress *bar;
    model_config config;
    model_table table;
    size_t n_shards;
    uint8_t *chunk;
    size_t all_bytes, written_bytes;
    json_t *weight_map;
    bool made_folder;
} synth_run;

static dsv4_status no_memory(const synth_run *r, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.300s: no memory to make a checkpoint", r->folder);
}

static bool is_stopped(const synth_run *r)
{
    return r->options->stop != NULL && *r->options->stop != 0;
}

/* A file of the folder; text as a whole. */
static dsv4_status write_text(const synth_run *r, const char *name, const char *text, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    file_writer w;
    dsv4_status status = file_join(r->folder, name, path, err);
    if (status == DSV4_OK && (status = file_writer_open(&w, path, err)) == DSV4_OK) {
        fputs(text, w.stream); /* commit finds errors */
        status = file_writer_commit(&w, err);
    }
    return status;
}

static dsv4_status write_json(const synth_run *r, const char *name, const json_t *value, dsv4_error *err)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_INDENT(2));
    if (text == NULL) {
        return no_memory(r, err);
    }
    const dsv4_status status = write_text(r, name, text, err);
    free(text);
    return status;
}

/* ---- configuration -------------------------------------------------------------------------------------------------------------------- */

static json_t *ratios_json(const model_synth_options *o)
{
    json_t *ratios = json_array();
    for (int64_t i = 0; i < o->n_layers; i++) {
        json_array_append_new(ratios, json_integer(i == 0 ? 0 : i % 2 == 1 ? 4 : 128));
    }
    if (o->draft) {
        json_array_append_new(ratios, json_integer(0));
    }
    return ratios;
}

/* The preset's dimensions; those of "tiny" that no model of this format can have are replaced. */
static dsv4_status choose_dims(const model_synth_options *o, dsv4_config *d, dsv4_error *err)
{
    const dsv4_status status = dsv4_config_preset(o->preset, d, err);
    if (status == DSV4_OK && (d->head_dim - d->qk_rope_head_dim) % 64 != 0) {
        d->qk_rope_head_dim = 64;
        d->index_head_dim = 128;
        d->index_n_heads = 8;
    }
    return status;
}

static json_t *config_json(const model_synth_options *o, const dsv4_config *d)
{
    enum { MANY_LAYERS = 12, CONTEXT = 1 << 20 };
    json_t *c = json_pack("{s:[s], s:s, s:s, s:s, s:s, s:s, s:b, s:b, s:b}", "architectures", "DeepseekV4ForCausalLM", "model_type",
                          "deepseek_v4", "scoring_func", "sqrtsoftplus", "topk_method", "noaux_tc", "hidden_act", "silu",
                          "torch_dtype", "bfloat16", "norm_topk_prob", 1, "attention_bias", 0, "tie_word_embeddings", 0);
#define SET_INT(field, ...) json_object_set_new(c, #field, json_integer(d->field));
    DSV4_CONFIG_INT_LIST(SET_INT)
    DSV4_CONFIG_MOE_LIST(SET_INT)
#undef SET_INT
#define SET_REAL(field, ...) json_object_set_new(c, #field, json_real(d->field));
    DSV4_CONFIG_MOE_REAL_LIST(SET_REAL)
#undef SET_REAL
    json_object_del(c, "original_max_position_embeddings");
    const struct {
        const char *key;
        json_t *value;
    } others[] = {
        {"rms_norm_eps", json_real(d->rms_norm_eps)},
        {"hc_eps", json_real(d->hc_eps)},
        {"rope_theta", json_real(d->rope_theta)},
        {"compress_rope_theta", json_real(d->compress_rope_theta)},
        {"max_position_embeddings", json_integer(CONTEXT)},
        {"num_hidden_layers", json_integer(o->n_layers)},
        {"num_hash_layers", json_integer(o->n_layers < MANY_LAYERS ? 1 : d->num_hash_layers)},
        {"num_nextn_predict_layers", json_integer(o->draft)},
        {"num_key_value_heads", json_integer(1)},
        {"n_shared_experts", json_integer(1)},
        {"bos_token_id", json_integer(0)},
        {"eos_token_id", json_integer(1)},
        {"expert_dtype", json_string(o->fp8 ? "fp8" : "fp4")},
        {"compress_ratios", ratios_json(o)},
        {"rope_scaling",
         json_pack("{s:s, s:f, s:f, s:f, s:I}", "type", "yarn", "factor", d->rope_factor, "beta_fast", d->beta_fast, "beta_slow",
                   d->beta_slow, "original_max_position_embeddings", (json_int_t)d->original_max_position_embeddings)},
        {"quantization_config", json_pack("{s:s, s:s, s:s, s:[i,i], s:s}", "quant_method", "fp8", "fmt", "e4m3", "scale_fmt",
                                          "ue8m0", "weight_block_size", 128, 128, "activation_scheme", "dynamic")},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        json_object_set_new(c, others[i].key, others[i].value);
    }
    if (o->n_experts > 0) {
        json_object_set_new(c, "n_routed_experts", json_integer(o->n_experts));
    }
    return c;
}

/* The configuration, checked as any other; its text is written later. */
static dsv4_status make_config(synth_run *r, json_t **json, dsv4_error *err)
{
    dsv4_config dims;
    dsv4_status status = choose_dims(r->options, &dims, err);
    if (status != DSV4_OK) {
        return status;
    }
    *json = config_json(r->options, &dims);
    char *text = json_dumps(*json, 0);
    if (text == NULL) {
        return no_memory(r, err);
    }
    status = model_config_parse("synth", text, strlen(text), &r->config, err);
    free(text);
    return status;
}

/* ---- shards ---------------------------------------------------------------------------------------------------------------------------- */

/* As published: the embedding, then a file for each block, then what is outside of the blocks. */
static size_t shard_of(const synth_run *r, const model_tensor *t)
{
    return t->group == MODEL_EMBEDDING ? 0 : t->block == MODEL_OUTSIDE_BLOCKS ? r->n_shards - 1 : (size_t)t->block + 1;
}

static void shard_name(const synth_run *r, size_t shard, char name[64])
{
    snprintf(name, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, r->n_shards);
}

/* The header of a shard: 8 bytes of length, JSON, blanks up to a multiple of 64. The caller frees. NULL without memory. */
static char *shard_header(const synth_run *r, size_t shard, size_t *n_bytes)
{
    json_t *header = json_object();
    size_t offset = 0;
    for (size_t i = 0; i < r->table.n; i++) {
        const model_tensor *t = &r->table.items[i];
        if (shard_of(r, t) == shard) {
            json_t *shape = json_array();
            for (int d = 0; d < t->n_dims; d++) {
                json_array_append_new(shape, json_integer(t->shape[d]));
            }
            const size_t end = offset + model_tensor_bytes(t);
            json_object_set_new(header, t->name,
                                json_pack("{s:s, s:o, s:[I,I]}", "dtype", dsv4_dtype_name(t->dtype), "shape", shape, "data_offsets",
                                          (json_int_t)offset, (json_int_t)end));
            offset = end;
        }
    }
    char *text = json_dumps(header, JSON_COMPACT | JSON_PRESERVE_ORDER), *bytes = NULL;
    json_decref(header);
    const uint64_t length = text == NULL ? 0 : strlen(text), padded = (length + 8 + 63) / 64 * 64 - 8;
    if (text != NULL && (bytes = malloc(8 + padded)) != NULL) {
        memcpy(bytes, &padded, 8);
        memset(bytes + 8, ' ', padded);
        memcpy(bytes + 8, text, length);
        *n_bytes = 8 + padded;
    }
    free(text);
    return bytes;
}

typedef struct fill_job {
    const synth_values *values;
    uint64_t first, n; /* blocks */
    uint8_t *out;
    int n_workers;
} fill_job;

static void fill_share(void *context, int worker)
{
    const fill_job *j = context;
    const uint64_t begin = (uint64_t)worker * j->n / (uint64_t)j->n_workers,
                   end = (uint64_t)(worker + 1) * j->n / (uint64_t)j->n_workers;
    synth_values_fill(j->values, j->first + begin, end - begin, j->out + begin * SYNTH_BLOCK);
}

/* False: a write failed, or is no longer wanted. */
static bool write_tensor(synth_run *r, const model_tensor *t, FILE *stream)
{
    const synth_values values = synth_values_of(&r->config, t, r->options->seed);
    const size_t bytes = model_tensor_bytes(t);
    for (size_t at = 0; at < bytes; at += CHUNK_BYTES) {
        const size_t n = bytes - at < CHUNK_BYTES ? bytes - at : CHUNK_BYTES;
        fill_job job = {&values, at / SYNTH_BLOCK, (n + SYNTH_BLOCK - 1) / SYNTH_BLOCK, r->chunk, 1};
        if (r->pool == NULL || n < SHARED_BYTES) {
            fill_share(&job, 0);
        } else {
            job.n_workers = dsv4_pool_n_threads(r->pool);
            rt_pool_run_all(r->pool, fill_share, &job);
        }
        if (is_stopped(r) || fwrite(r->chunk, 1, n, stream) != n) {
            return false;
        }
        r->written_bytes += n;
        progress_report(r->bar, (double)r->written_bytes / (double)r->all_bytes);
    }
    return true;
}

static dsv4_status write_shard(synth_run *r, size_t shard, dsv4_error *err)
{
    char name[64], path[FILE_PATH_BYTES];
    file_writer w;
    size_t n_header = 0;
    shard_name(r, shard, name);
    dsv4_status status = file_join(r->folder, name, path, err);
    char *header = status == DSV4_OK ? shard_header(r, shard, &n_header) : NULL;
    if (header == NULL) {
        return status != DSV4_OK ? status : no_memory(r, err);
    }
    status = file_writer_open(&w, path, err);
    if (status == DSV4_OK) {
        bool good = fwrite(header, 1, n_header, w.stream) == n_header;
        for (size_t i = 0; good && i < r->table.n; i++) {
            const model_tensor *t = &r->table.items[i];
            if (shard_of(r, t) == shard) {
                good = write_tensor(r, t, w.stream);
                json_object_set_new(r->weight_map, t->name, json_string(name));
            }
        }
        if (is_stopped(r)) {
            file_writer_abort(&w);
        } else {
            status = file_writer_commit(&w, err); /* which also tells of a failed fwrite */
        }
    }
    free(header);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------------------- */

static dsv4_status make_folder(synth_run *r, dsv4_error *err)
{
    r->made_folder = mkdir(r->folder, 0777) == 0;
    if (r->made_folder) {
        return DSV4_OK;
    }
    DIR *directory = errno == EEXIST ? opendir(r->folder) : NULL;
    if (directory == NULL) {
        return dsv4_fail(err, DSV4_E_IO, "%.300s: cannot make the folder: %s", r->folder, strerror(errno));
    }
    dsv4_status status = DSV4_OK;
    for (const struct dirent *e; status == DSV4_OK && (e = readdir(directory)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            status = dsv4_fail(err, DSV4_E_VALUE, "%.200s: holds '%.80s', expected a new or empty folder", r->folder, e->d_name);
        }
    }
    closedir(directory);
    return status;
}

static dsv4_status write_index(const synth_run *r, dsv4_error *err)
{
    json_t *index = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)r->all_bytes, "weight_map", r->weight_map);
    const dsv4_status status = write_json(r, index_name, index, err);
    json_decref(index);
    return status;
}

/* The index comes last: without it nothing takes the folder for a checkpoint. */
static dsv4_status write_files(synth_run *r, const json_t *config, dsv4_error *err)
{
    dsv4_status status = file_check_space(r->folder, r->all_bytes + r->all_bytes / 100, err);
    if (status == DSV4_OK) {
        status = write_json(r, config_name, config, err);
    }
    for (size_t s = 0; status == DSV4_OK && s < r->n_shards && !is_stopped(r); s++) {
        status = write_shard(r, s, err);
    }
    return status == DSV4_OK && !is_stopped(r) ? write_index(r, err) : status;
}

static void remove_file(const synth_run *r, const char *name)
{
    char path[FILE_PATH_BYTES];
    if (file_join(r->folder, name, path, NULL) == DSV4_OK) {
        unlink(path);
    }
}

/* All of a folder that was new or empty. */
static void remove_files(const synth_run *r)
{
    remove_file(r, index_name);
    for (size_t s = 0; s < r->n_shards; s++) {
        char name[64];
        shard_name(r, s, name);
        remove_file(r, name);
    }
    remove_file(r, config_name);
    if (r->made_folder) {
        rmdir(r->folder);
    }
}

static dsv4_status write_all(synth_run *r, const json_t *config, bool *was_stopped, dsv4_error *err)
{
    dsv4_status status = make_folder(r, err);
    if (status == DSV4_OK) {
        status = write_files(r, config, err);
        *was_stopped = is_stopped(r);
        if (status != DSV4_OK || *was_stopped) {
            remove_files(r);
        }
    }
    return status;
}

dsv4_status model_synth(const char *folder, const model_synth_options *options, dsv4_pool *pool, struct progress *bar,
                        model_synth_result *result, dsv4_error *err)
{
    synth_run r = {.folder = folder, .options = options, .pool = pool, .bar = bar};
    json_t *config = NULL;
    dsv4_status status = make_config(&r, &config, err);
    if (status == DSV4_OK && (status = model_table_make(&r.config, &r.table, err)) == DSV4_OK) {
        r.n_shards = (size_t)model_config_n_blocks(&r.config) + 2;
        for (size_t i = 0; i < r.table.n; i++) {
            r.all_bytes += model_tensor_bytes(&r.table.items[i]);
        }
        r.chunk = memory_array(CHUNK_BYTES + SYNTH_BLOCK, 1);
        r.weight_map = json_object();
        *result = (model_synth_result){r.all_bytes, r.table.n, r.n_shards, false};
        status = r.chunk == NULL || r.weight_map == NULL ? no_memory(&r, err) : write_all(&r, config, &result->was_stopped, err);
    }
    json_decref(config);
    json_decref(r.weight_map);
    free(r.chunk);
    model_table_deinit(&r.table);
    return status;
}
