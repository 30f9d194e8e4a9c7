/* text/chat_messages.c - messages read, checked and merged. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/chat_parts.h"

/* ---- from a file ---------------------------------------------------------------------------------------------------------- */

static dsv4_status no_memory(const char *source, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.200s: no memory for messages", source);
}

/* Puts a system message with tools in front, in the place of the one that is there. */
static dsv4_status add_tools(const char *source, json_t *messages, json_t *tools, dsv4_error *err)
{
    json_t *first = json_array_get(messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    const bool is_system = role != NULL && strcmp(role, "system") == 0;
    if (is_system && json_object_get(first, "tools") != NULL) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: tools: messages[0] has its own, expected one place for them", source);
    }
    first = is_system ? json_copy(first) : json_pack("{s:s, s:s}", "role", "system", "content", "");
    if (json_object_set(first, "tools", tools) != 0) {
        json_decref(first);
        return no_memory(source, err);
    }
    const int failed = is_system ? json_array_set_new(messages, 0, first) : json_array_insert_new(messages, 0, first);
    return failed == 0 ? DSV4_OK : no_memory(source, err);
}

dsv4_status chat_messages_find(const char *source, json_t *root, json_t **messages, dsv4_error *err)
{
    json_t *found = json_is_array(root) ? root : json_object_get(root, "messages"), *tools = json_object_get(root, "tools");
    if (!json_is_array(found)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: expected an array of messages, or an object with a member messages", source);
    }
    json_t *copy = json_copy(found);
    dsv4_status status = copy != NULL ? DSV4_OK : no_memory(source, err);
    if (status == DSV4_OK && tools != NULL && !json_is_null(tools)) {
        status = add_tools(source, copy, tools, err);
    }
    if (status != DSV4_OK) {
        json_decref(copy);
        return status;
    }
    *messages = copy;
    return DSV4_OK;
}

dsv4_status chat_messages_parse(const char *source, const char *json, size_t n_bytes, json_t **messages, dsv4_error *err)
{
    json_error_t at;
    json_t *root = json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &at);
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: line %d, column %d: no valid JSON: %s", source, at.line, at.column, at.text);
    }
    const dsv4_status status = chat_messages_find(source, root, messages, err);
    json_decref(root);
    return status;
}

dsv4_status chat_messages_read(const char *path, json_t **messages, dsv4_error *err)
{
    char *text = NULL;
    size_t n = 0;
    dsv4_status status = file_read(path, CHAT_MAX_FILE_BYTES, &text, &n, err);
    status = status == DSV4_OK ? chat_messages_parse(path, text, n, messages, err) : status;
    free(text);
    return status;
}

/* ---- checks --------------------------------------------------------------------------------------------------------------- */

typedef struct checker {
    const char *source;
    size_t number; /* of the message */
    dsv4_error *err;
} checker;

static dsv4_status fail(const checker *c, const char *member, const char *expected)
{
    return dsv4_fail(c->err, DSV4_E_FORMAT, "%.200s: messages[%zu].%s: expected %s", c->source, c->number, member, expected);
}

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

static dsv4_status check_tools(const checker *c, const json_t *tools)
{
    if (!is_absent(tools) && !json_is_array(tools)) {
        return fail(c, "tools", "an array");
    }
    for (size_t i = 0; i < json_array_size(tools); i++) {
        if (!json_is_object(json_object_get(json_array_get(tools, i), "function"))) {
            return fail(c, "tools", "objects with an object function");
        }
    }
    return DSV4_OK;
}

static dsv4_status check_calls(const checker *c, const json_t *calls)
{
    if (!is_absent(calls) && !json_is_array(calls)) {
        return fail(c, "tool_calls", "an array");
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *function = json_object_get(call, "function");
        const json_t *id = json_object_get(call, "id");
        if (!json_is_string(json_object_get(function, "name"))) {
            return fail(c, "tool_calls", "a text function.name in each");
        }
        if (!json_is_string(json_object_get(function, "arguments"))) {
            return fail(c, "tool_calls", "a text function.arguments in each, which holds JSON");
        }
        if (!is_absent(id) && !json_is_string(id)) {
            return fail(c, "tool_calls", "a text as id");
        }
    }
    return DSV4_OK;
}

static dsv4_status find_role(const checker *c, const json_t *message, chat_role *role)
{
    static const char *const names[CHAT_N_ROLES] = {"system", "user", "assistant", "tool", "developer", "latest_reminder"};
    const char *name = json_string_value(json_object_get(message, "role"));
    for (int i = 0; name != NULL && i < CHAT_N_ROLES; i++) {
        if (strcmp(name, names[i]) == 0) {
            *role = (chat_role)i;
            return DSV4_OK;
        }
    }
    return fail(c, "role", "\"system\", \"user\", \"assistant\", \"tool\", \"developer\" or \"latest_reminder\"");
}

static dsv4_status find_task(const checker *c, const json_t *message, const char **task)
{
    static const char *const tokens[] = {CHAT_ACTION,    "<｜query｜>", "<｜authority｜>",
                                         "<｜domain｜>", "<｜title｜>", "<｜read_url｜>"};
    static const char *const names[] = {"action", "query", "authority", "domain", "title", "read_url"};
    const json_t *value = json_object_get(message, "task");
    const char *name = json_string_value(value);
    *task = NULL;
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof *names; i++) {
        *task = strcmp(name, names[i]) == 0 ? tokens[i] : *task;
    }
    return is_absent(value) || *task != NULL
               ? DSV4_OK
               : fail(c, "task", "\"action\", \"query\", \"authority\", \"domain\", \"title\" or \"read_url\"");
}

static dsv4_status check_texts(const checker *c, const json_t *message, chat_role role)
{
    const json_t *content = json_object_get(message, "content"), *reasoning = json_object_get(message, "reasoning_content");
    const json_t *call = json_object_get(message, "tool_call_id");
    const bool may_lack = role == CHAT_ROLE_SYSTEM || role == CHAT_ROLE_ASSISTANT;
    if (!json_is_string(content) && !(may_lack && is_absent(content))) {
        return fail(c, "content", "a text");
    }
    if (role == CHAT_ROLE_ASSISTANT && !is_absent(reasoning) && !json_is_string(reasoning)) {
        return fail(c, "reasoning_content", "a text");
    }
    if (role == CHAT_ROLE_TOOL && !is_absent(call) && !json_is_string(call)) {
        return fail(c, "tool_call_id", "a text");
    }
    return DSV4_OK;
}

static dsv4_status check_message(const checker *c, const json_t *json, chat_message *message)
{
    *message = (chat_message){.number = c->number, .json = json};
    if (!json_is_object(json)) {
        return dsv4_fail(c->err, DSV4_E_FORMAT, "%.200s: messages[%zu]: expected an object", c->source, c->number);
    }
    dsv4_status status = find_role(c, json, &message->role);
    status = status == DSV4_OK ? check_texts(c, json, message->role) : status;
    if (status == DSV4_OK && (message->role == CHAT_ROLE_SYSTEM || message->role == CHAT_ROLE_DEVELOPER)) {
        status = check_tools(c, json_object_get(json, "tools"));
    }
    if (status == DSV4_OK && message->role == CHAT_ROLE_ASSISTANT) {
        status = check_calls(c, json_object_get(json, "tool_calls"));
    }
    if (status == DSV4_OK && (message->role == CHAT_ROLE_USER || message->role == CHAT_ROLE_ASSISTANT)) {
        status = find_task(c, json, &message->task);
    }
    return status;
}

/* ---- merging -------------------------------------------------------------------------------------------------------------- */

/* Appends a checked message; one of user or tool may become a part of the last. */
static void append(chat_list *list, chat_block *block, const chat_message *message)
{
    chat_message *last = list->n > 0 ? &list->items[list->n - 1] : NULL;
    const bool is_result = message->role == CHAT_ROLE_TOOL;
    if (!is_result && message->role != CHAT_ROLE_USER) {
        list->items[list->n++] = *message;
        return;
    }
    if (last == NULL || last->role != CHAT_ROLE_USER || (!is_result && last->task != NULL)) {
        last = &list->items[list->n++];
        *last = *message;
        last->role = CHAT_ROLE_USER;
        last->blocks = block;
    }
    *block = (chat_block){is_result, json_object_get(message->json, "content"), json_object_get(message->json, "tool_call_id")};
    last->n_blocks++;
}

/* ---- results in the order of their calls ------------------------------------------------------------------------------------ */

typedef struct ranked_block {
    json_int_t rank;
    size_t at;
    chat_block block;
} ranked_block;

static int compare_ranked(const void *a, const void *b)
{
    const ranked_block *x = a, *y = b;
    return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank) : (x->at > y->at) - (x->at < y->at);
}

/* Numbers of calls by their ids; the last of several with one id. NULL without memory. */
static json_t *number_calls(const json_t *calls)
{
    json_t *numbers = json_object();
    for (size_t i = 0; numbers != NULL && i < json_array_size(calls); i++) {
        const json_t *id = json_object_get(json_array_get(calls, i), "id");
        if (json_string_length(id) > 0 &&
            json_object_setn_new(numbers, json_string_value(id), json_string_length(id), json_integer((json_int_t)i)) != 0) {
            json_decref(numbers);
            return NULL;
        }
    }
    return numbers;
}

static void sort_results(chat_message *message, const json_t *numbers, ranked_block *work)
{
    size_t n = 0;
    for (size_t i = 0; i < message->n_blocks; i++) {
        const chat_block *b = &message->blocks[i];
        if (b->is_result) {
            const json_t *rank =
                json_is_string(b->call) ? json_object_getn(numbers, json_string_value(b->call), json_string_length(b->call)) : NULL;
            work[n] = (ranked_block){json_integer_value(rank), n, *b};
            n++;
        }
    }
    qsort(work, n, sizeof *work, compare_ranked);
    for (size_t i = 0, k = 0; i < message->n_blocks; i++) {
        if (message->blocks[i].is_result) {
            message->blocks[i] = work[k++].block;
        }
    }
}

static bool sort_all_results(chat_list *list, size_t n_blocks)
{
    ranked_block *work = malloc((n_blocks + 1) * sizeof *work);
    json_t *numbers = json_object();
    for (size_t i = 0; work != NULL && numbers != NULL && i < list->n; i++) {
        chat_message *m = &list->items[i];
        const json_t *calls = json_object_get(m->json, "tool_calls");
        if (m->role == CHAT_ROLE_ASSISTANT && json_array_size(calls) > 0) {
            json_decref(numbers);
            numbers = number_calls(calls);
        } else if (m->role == CHAT_ROLE_USER) {
            sort_results(m, numbers, work);
        }
    }
    const bool done = work != NULL && numbers != NULL;
    json_decref(numbers);
    free(work);
    return done;
}

/* ---- the list --------------------------------------------------------------------------------------------------------------- */

void chat_list_deinit(chat_list *list)
{
    free(list->items);
    free(list->blocks);
    *list = (chat_list){0};
}

dsv4_status chat_list_make(const char *source, const json_t *messages, chat_list *list, dsv4_error *err)
{
    const size_t n = json_array_size(messages);
    checker c = {source, 0, err};
    chat_message message;
    dsv4_status status = DSV4_OK;
    if (n == 0) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: messages: expected an array of at least one", source);
    }
    *list = (chat_list){malloc(n * sizeof *list->items), malloc(n * sizeof *list->blocks), 0};
    bool has_memory = list->items != NULL && list->blocks != NULL;
    for (; has_memory && status == DSV4_OK && c.number < n; c.number++) {
        status = check_message(&c, json_array_get(messages, c.number), &message);
        if (status == DSV4_OK) {
            append(list, &list->blocks[c.number], &message);
        }
    }
    has_memory = has_memory && (status != DSV4_OK || sort_all_results(list, n));
    if (!has_memory) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%.200s: no memory for %zu messages", source, n);
    }
    if (status != DSV4_OK) {
        chat_list_deinit(list);
    }
    return status;
}
