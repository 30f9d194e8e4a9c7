/* text/chat_parse.c - an answer of the model as a message. */
#include <stdlib.h>
#include <string.h>

#include "text/chat_parts.h"
#include "text/utf8.h"

/* Bytes that are looked at from the front. */
typedef struct span {
    const char *at;
    size_t n;
} span;

static dsv4_status fail(dsv4_error *err, const char *what)
{
    return dsv4_fail(err, DSV4_E_FORMAT, "answer: %s", what);
}

static dsv4_status no_memory(dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "answer: no memory for a message");
}

static const char *find(span s, const char *text)
{
    const size_t n = strlen(text);
    for (const char *at = s.at, *end = s.at + s.n; (size_t)(end - at) >= n; at++) {
        at = memchr(at, text[0], (size_t)(end - at) - n + 1);
        if (at == NULL) {
            return NULL;
        }
        if (memcmp(at, text, n) == 0) {
            return at;
        }
    }
    return NULL;
}

/* Takes a text off the front, if it is there. */
static bool take(span *s, const char *text)
{
    const size_t n = strlen(text);
    if (s->n < n || memcmp(s->at, text, n) != 0) {
        return false;
    }
    *s = (span){s->at + n, s->n - n};
    return true;
}

/* Takes all up to and with the first such text; what is before it is *before. */
static bool take_until(span *s, const char *text, span *before)
{
    const char *found = find(*s, text);
    if (found == NULL) {
        return false;
    }
    *before = (span){s->at, (size_t)(found - s->at)};
    const size_t n = before->n + strlen(text);
    *s = (span){s->at + n, s->n - n};
    return true;
}

/* ---- calls ------------------------------------------------------------------------------------------------------------------ */

/* Adds a parameter to the text of an object of arguments; names has those before. */
static dsv4_status parse_parameter(span *s, chat_text *arguments, json_t *names, dsv4_error *err)
{
    span name, value;
    bool is_text = false;
    if (!take(s, CHAT_PARAMETER) || !take_until(s, "\" string=\"", &name)) {
        return fail(err, "expected a parameter with name and string in a tool call");
    }
    is_text = take(s, "true\">");
    if ((!is_text && !take(s, "false\">")) || !take_until(s, CHAT_PARAMETER_END "\n", &value)) {
        return fail(err, "expected string=\"true\" or \"false\", a value and its end in a parameter of a tool call");
    }
    if (json_object_getn(names, name.at, name.n) != NULL) {
        return dsv4_fail(err, DSV4_E_FORMAT, "answer: parameter \"%.*s\" is there twice in a tool call",
                         name.n < 80 ? (int)name.n : 80, name.at);
    }
    if (json_object_setn_new(names, name.at, name.n, json_true()) != 0) {
        return no_memory(err);
    }
    chat_add(arguments, arguments->n > 1 ? ", " : "");
    chat_add_json_string(arguments, name.at, name.n);
    chat_add(arguments, ": ");
    if (is_text) {
        chat_add_json_string(arguments, value.at, value.n);
    } else {
        chat_add_bytes(arguments, value.at, value.n);
    }
    return DSV4_OK;
}

/* Prompts have an empty line in a call without parameters, answers may have it. */
static dsv4_status parse_parameters(span body, chat_text *arguments, dsv4_error *err)
{
    json_t *names = json_object();
    dsv4_status status = names != NULL ? DSV4_OK : no_memory(err);
    chat_add(arguments, "{");
    if (body.n == 1 && body.at[0] == '\n') {
        body.n = 0;
    }
    while (status == DSV4_OK && body.n > 0) {
        status = parse_parameter(&body, arguments, names, err);
    }
    chat_add(arguments, "}");
    json_decref(names);
    return status == DSV4_OK && arguments->no_memory ? no_memory(err) : status;
}

static dsv4_status parse_call(span *s, json_t *calls, dsv4_error *err)
{
    span name, body;
    chat_text arguments = {0};
    bool begins = take(s, CHAT_INVOKE);
    while (begins && s->n > 0 && memchr(" \t\n\r\f\v", s->at[0], 6) != NULL) {
        *s = (span){s->at + 1, s->n - 1};
    }
    if (!begins || !take(s, "name=\"") || !take_until(s, "\">\n", &name) || !take_until(s, CHAT_INVOKE_END "\n", &body)) {
        return fail(err, "expected invoke with a name, and its end, in the block of tool calls");
    }
    dsv4_status status = parse_parameters(body, &arguments, err);
    if (status == DSV4_OK) {
        json_t *call = json_pack("{s:s, s:{s:o, s:o}}", "type", "function", "function", "name", json_stringn(name.at, name.n),
                                 "arguments", json_stringn(arguments.bytes, arguments.n));
        status = json_array_append_new(calls, call) == 0 ? DSV4_OK : no_memory(err);
    }
    free(arguments.bytes);
    return status;
}

/* What is behind the beginning of the block. */
static dsv4_status parse_calls(span s, json_t *calls, dsv4_error *err)
{
    const size_t n_end = strlen(CHAT_CALLS_END);
    if (!take(&s, ">\n") || s.n < n_end || memcmp(s.at + s.n - n_end, CHAT_CALLS_END, n_end) != 0) {
        return fail(err, "the block of tool calls is not well formed, or text follows it");
    }
    s.n -= n_end;
    dsv4_status status = DSV4_OK;
    while (status == DSV4_OK && s.n > 0) {
        status = parse_call(&s, calls, err);
    }
    return status;
}

/* ---- the answer -------------------------------------------------------------------------------------------------------------- */

static dsv4_status check_plain(span s, const char *where, dsv4_error *err)
{
    static const char *const tokens[] = {CHAT_BOS, CHAT_EOS, CHAT_THINK, CHAT_UNTHINK, CHAT_DSML};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        if (find(s, tokens[i]) != NULL) {
            return dsv4_fail(err, DSV4_E_FORMAT, "answer: %s has the token %s", where, tokens[i]);
        }
    }
    return DSV4_OK;
}

static dsv4_status parse_body(span reasoning, span body, json_t *calls, json_t **message, dsv4_error *err)
{
    span content = body;
    dsv4_status status = DSV4_OK;
    if (take_until(&body, CHAT_CALLS, &content)) {
        status = parse_calls(body, calls, err);
    }
    status = status == DSV4_OK ? check_plain(reasoning, "reasoning_content", err) : status;
    status = status == DSV4_OK ? check_plain(content, "content", err) : status;
    if (status == DSV4_OK) {
        *message = json_pack("{s:o, s:o, s:O}", "reasoning_content", json_stringn(reasoning.at, reasoning.n), "content",
                             json_stringn(content.at, content.n), "tool_calls", calls);
        status = *message != NULL ? DSV4_OK : no_memory(err);
    }
    return status;
}

dsv4_status chat_parse(const char *text, size_t n_bytes, bool thinking, json_t **message, dsv4_error *err)
{
    span s = {text, n_bytes}, reasoning = {text, 0}, body;
    const size_t n_valid = utf8_valid_bytes(text, n_bytes);
    if (n_valid < n_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "answer: byte %zu is not UTF-8", n_valid);
    }
    if (thinking && (!take_until(&s, CHAT_UNTHINK, &reasoning) || find(reasoning, CHAT_CALLS) != NULL)) {
        return fail(err, "expected " CHAT_UNTHINK " before content and tool calls");
    }
    if (!take_until(&s, CHAT_EOS, &body) || s.n > 0) {
        return fail(err, "expected one " CHAT_EOS ", at the end");
    }
    json_t *calls = json_array();
    const dsv4_status status = calls != NULL ? parse_body(reasoning, body, calls, message, err) : no_memory(err);
    json_decref(calls);
    return status;
}
