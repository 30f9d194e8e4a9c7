/* text/chat_render.c - the prompt of messages. */
#include <stdlib.h>
#include <string.h>

#include "text/chat_parts.h"

static const char effort_absolute[] =
    "Reasoning Effort: Absolute maximum with no shortcuts permitted.\n"
    "You MUST be very thorough in your thinking and comprehensively decompose the problem to resolve the root cause, "
    "rigorously stress-testing your logic against all potential paths, edge cases, and adversarial scenarios.\n"
    "Explicitly write out your entire deliberation process, documenting every intermediate step, considered alternative, "
    "and rejected hypothesis to ensure absolutely no assumption is left unchecked.\n\n";

static const char effort_beyond[] =
    "Reasoning Effort: Beyond maximum — exhaustive, relentless, and uncompromising.\n"
    "You MUST reason with the utmost depth and rigor, leaving absolutely nothing to chance: exhaustively decompose the "
    "problem into its most fundamental components, trace every causal chain to its root, and resolve the underlying cause "
    "rather than any surface symptom.\n"
    "Do not stop reasoning until you have independently verified the solution from multiple angles and are certain that no "
    "assumption remains unchecked and no error remains undiscovered.\n\n";

static const char tools_head[] =
    "\n\n## Tools\n\nYou have access to a set of tools to help answer the user's question. You can invoke tools by writing a "
    "\"<" CHAT_DSML "tool_calls>\" block like the following:\n\n"
    "<" CHAT_DSML "tool_calls>\n" CHAT_INVOKE " name=\"$TOOL_NAME\">\n" CHAT_PARAMETER
    "$PARAMETER_NAME\" string=\"true|false\">$PARAMETER_VALUE" CHAT_PARAMETER_END "\n...\n" CHAT_INVOKE_END "\n" CHAT_INVOKE
    " name=\"$TOOL_NAME2\">\n...\n" CHAT_INVOKE_END "\n" CHAT_CALLS_END "\n\n"
    "String parameters should be specified as is and set `string=\"true\"`. For all other types (numbers, booleans, arrays, "
    "objects), pass the value in JSON format and set `string=\"false\"`.\n\n"
    "If thinking_mode is enabled (triggered by " CHAT_THINK "), you MUST output your complete reasoning inside " CHAT_THINK
    "..." CHAT_UNTHINK " BEFORE any tool calls or final response.\n\nOtherwise, output directly after " CHAT_UNTHINK
    " with tool calls or final response.\n\n### Available Tool Schemas\n\n";

static const char tools_tail[] =
    "\n\nYou MUST strictly follow the above defined tool name and parameter schemas to invoke tool calls.\n";

static const char format_head[] = "\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n";

typedef struct rendering {
    const char *source;
    const chat_list *list;
    const chat_options *options;
    bool drops;      /* reasoning before the last question */
    size_t question; /* the last message of user or developer; n if there is none */
    chat_text prompt;
    dsv4_error *err;
} rendering;

/* ---- parts ----------------------------------------------------------------------------------------------------------------- */

/* Whether Python takes a value for true. */
static bool is_set(const json_t *value)
{
    switch (value != NULL ? json_typeof(value) : JSON_NULL) {
    case JSON_NULL:
    case JSON_FALSE:
        return false;
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
        return json_integer_value(value) != 0;
    case JSON_REAL:
        return json_real_value(value) < 0 || json_real_value(value) > 0;
    default:
        return true;
    }
}

/* The content of a system or developer message and what it carries behind it. */
static void add_instructions(chat_text *t, const json_t *message)
{
    json_t *tools = json_object_get(message, "tools"), *format = json_object_get(message, "response_format");
    chat_add_string(t, json_object_get(message, "content"));
    for (size_t i = 0; i < json_array_size(tools); i++) {
        chat_add(t, i == 0 ? tools_head : "\n");
        chat_add_json(t, json_object_get(json_array_get(tools, i), "function"));
    }
    chat_add(t, json_array_size(tools) > 0 ? tools_tail : "");
    if (is_set(format)) {
        chat_add(t, format_head);
        chat_add_json(t, format);
    }
}

static void add_blocks(chat_text *t, const chat_message *m)
{
    for (size_t i = 0; i < m->n_blocks; i++) {
        const chat_block *b = &m->blocks[i];
        chat_add(t, i > 0 ? "\n\n" : "");
        chat_add(t, b->is_result ? "<tool_result>" : "");
        chat_add_string(t, b->content);
        chat_add(t, b->is_result ? "</tool_result>" : "");
    }
}

static void add_parameter(chat_text *t, const char *name, size_t n, json_t *value)
{
    chat_add(t, CHAT_PARAMETER);
    chat_add_bytes(t, name, n);
    chat_add(t, json_is_string(value) ? "\" string=\"true\">" : "\" string=\"false\">");
    if (json_is_string(value)) {
        chat_add_string(t, value);
    } else {
        chat_add_json(t, value);
    }
    chat_add(t, CHAT_PARAMETER_END);
}

/* The parameters of a call; arguments that are no JSON object become one text. Fails on JSON beyond what can be read. */
static dsv4_status add_arguments(rendering *r, size_t number, json_t *arguments)
{
    json_error_t at;
    json_t *object = json_loadb(json_string_value(arguments), json_string_length(arguments), JSON_ALLOW_NUL, &at);
    const enum json_error_code code = object == NULL ? json_error_code(&at) : json_error_unknown;
    const char *before = "";
    if (code == json_error_numeric_overflow || code == json_error_stack_overflow || code == json_error_null_byte_in_key) {
        return dsv4_fail(r->err, DSV4_E_VALUE, "%.200s: messages[%zu].tool_calls: arguments: %.100s", r->source, number, at.text);
    }
    for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i), before = "\n") {
        chat_add(&r->prompt, before);
        add_parameter(&r->prompt, json_object_iter_key(i), json_object_iter_key_len(i), json_object_iter_value(i));
    }
    if (!json_is_object(object)) {
        add_parameter(&r->prompt, "arguments", strlen("arguments"), arguments);
    }
    json_decref(object);
    return DSV4_OK;
}

static dsv4_status add_calls(rendering *r, size_t number, const json_t *calls)
{
    dsv4_status status = DSV4_OK;
    chat_add(&r->prompt, json_array_size(calls) > 0 ? CHAT_CALLS ">\n" : "");
    for (size_t i = 0; i < json_array_size(calls) && status == DSV4_OK; i++) {
        const json_t *function = json_object_get(json_array_get(calls, i), "function");
        chat_add(&r->prompt, CHAT_INVOKE " name=\"");
        chat_add_string(&r->prompt, json_object_get(function, "name"));
        chat_add(&r->prompt, "\">\n");
        status = add_arguments(r, number, json_object_get(function, "arguments"));
        chat_add(&r->prompt, "\n" CHAT_INVOKE_END "\n");
    }
    chat_add(&r->prompt, json_array_size(calls) > 0 ? CHAT_CALLS_END : "");
    return status;
}

/* ---- messages -------------------------------------------------------------------------------------------------------------- */

static dsv4_status add_answer(rendering *r, size_t i)
{
    const chat_message *m = &r->list->items[i];
    const bool answers_task = i > 0 && m[-1].task != NULL;
    const bool behind_question = r->question == r->list->n || i > r->question;
    if (r->options->thinking && !answers_task && (!r->drops || behind_question)) {
        chat_add_string(&r->prompt, json_object_get(m->json, "reasoning_content"));
        chat_add(&r->prompt, CHAT_UNTHINK);
    }
    chat_add_string(&r->prompt, json_object_get(m->json, "content"));
    const dsv4_status status = add_calls(r, m->number, json_object_get(m->json, "tool_calls"));
    chat_add(&r->prompt, is_set(json_object_get(m->json, "wo_eos")) ? "" : CHAT_EOS);
    return status;
}

static dsv4_status add_message(rendering *r, size_t i)
{
    const chat_message *m = &r->list->items[i];
    switch (m->role) {
    case CHAT_ROLE_ASSISTANT:
        return add_answer(r, i);
    case CHAT_ROLE_SYSTEM:
        add_instructions(&r->prompt, m->json);
        break;
    case CHAT_ROLE_DEVELOPER:
        chat_add(&r->prompt, CHAT_USER);
        add_instructions(&r->prompt, m->json);
        break;
    case CHAT_ROLE_REMINDER:
        chat_add(&r->prompt, CHAT_REMINDER);
        chat_add_string(&r->prompt, json_object_get(m->json, "content"));
        break;
    default:
        chat_add(&r->prompt, CHAT_USER);
        add_blocks(&r->prompt, m);
    }
    return DSV4_OK;
}

/* What begins an answer, where one is to follow message i. */
static void add_turn(rendering *r, size_t i)
{
    const chat_message *m = &r->list->items[i];
    const bool thinks = r->options->thinking && (!r->drops || r->question == r->list->n || i >= r->question);
    if (i + 1 < r->list->n && m[1].role != CHAT_ROLE_ASSISTANT && m[1].role != CHAT_ROLE_REMINDER) {
        return;
    }
    if (m->task != NULL) {
        const bool is_action = strcmp(m->task, CHAT_ACTION) == 0;
        chat_add(&r->prompt, !is_action ? "" : r->options->thinking ? CHAT_ASSISTANT CHAT_THINK : CHAT_ASSISTANT CHAT_UNTHINK);
        chat_add(&r->prompt, m->task);
    } else if (m->role == CHAT_ROLE_USER || m->role == CHAT_ROLE_DEVELOPER) {
        chat_add(&r->prompt, thinks ? CHAT_ASSISTANT CHAT_THINK : CHAT_ASSISTANT CHAT_UNTHINK);
    }
}

/* ---- the prompt ------------------------------------------------------------------------------------------------------------ */

static size_t find_question(const chat_list *list)
{
    size_t question = list->n;
    for (size_t i = 0; i < list->n; i++) {
        question = list->items[i].role == CHAT_ROLE_USER || list->items[i].role == CHAT_ROLE_DEVELOPER ? i : question;
    }
    return question;
}

static bool has_tools(const chat_list *list)
{
    bool has = false;
    for (size_t i = 0; i < list->n; i++) {
        const chat_role role = list->items[i].role;
        has = has || ((role == CHAT_ROLE_SYSTEM || role == CHAT_ROLE_DEVELOPER) &&
                      json_array_size(json_object_get(list->items[i].json, "tools")) > 0);
    }
    return has;
}

/* Developer messages before the last question go with the reasoning. */
static void drop_developers(chat_list *list)
{
    const size_t question = find_question(list);
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i].role != CHAT_ROLE_DEVELOPER || i >= question) {
            list->items[n++] = list->items[i];
        }
    }
    list->n = n;
}

static dsv4_status add_effort(rendering *r)
{
    const chat_options *o = r->options;
    if (!o->thinking) {
        return DSV4_OK;
    }
    if (o->edition == CHAT_PREVIEW && o->effort == CHAT_EFFORT_LOW) {
        return dsv4_fail(r->err, DSV4_E_VALUE, "%.200s: effort low is none of the edition preview, expected high or max",
                         r->source);
    }
    const chat_effort absolute = o->edition == CHAT_PREVIEW ? CHAT_EFFORT_MAX : CHAT_EFFORT_HIGH;
    chat_add(&r->prompt, o->effort == absolute ? effort_absolute : o->effort == CHAT_EFFORT_MAX ? effort_beyond : "");
    return DSV4_OK;
}

static dsv4_status render(rendering *r)
{
    chat_add(&r->prompt, CHAT_BOS);
    dsv4_status status = add_effort(r);
    for (size_t i = 0; i < r->list->n && status == DSV4_OK; i++) {
        status = add_message(r, i);
        add_turn(r, i);
    }
    if (status == DSV4_OK && r->prompt.no_memory) {
        status =
            dsv4_fail(r->err, DSV4_E_NO_MEMORY, "%.200s: no memory for a prompt of more than %zu bytes", r->source, r->prompt.n);
    }
    return status;
}

dsv4_status chat_render(const char *source, const json_t *messages, const chat_options *options, char **prompt, size_t *n_bytes,
                        dsv4_error *err)
{
    chat_list list;
    dsv4_status status = chat_list_make(source, messages, &list, err);
    if (status != DSV4_OK) {
        return status;
    }
    const bool drops = !options->keep_thinking && !has_tools(&list);
    if (options->thinking && drops) {
        drop_developers(&list);
    }
    rendering r = {source, &list, options, drops, find_question(&list), {0}, err};
    status = render(&r);
    if (status == DSV4_OK) {
        *prompt = r.prompt.bytes;
        *n_bytes = r.prompt.n;
    } else {
        free(r.prompt.bytes);
    }
    chat_list_deinit(&list);
    return status;
}
