/* cli/generate/chat.c - messages to a prompt, and an answer to a message. */
#include <stdlib.h>
#include <string.h>

#include "cli/generate/generate.h"
#include "text/chat.h"

static const char end_of_answer[] = "<｜end▁of▁sentence｜>";

static bool thinks(const generate_options *o)
{
    return o->think && !o->no_think;
}

dsv4_status generate_render(const generate_options *o, const char *source, const json_t *messages, char **text, size_t *n_bytes,
                            dsv4_error *err)
{
    const chat_options options = {.thinking = thinks(o)};
    return chat_render(source, messages, &options, text, n_bytes, err);
}

dsv4_status generate_note_answer(const generate_options *o, json_t *messages, const char *text, size_t n, dsv4_error *err)
{
    json_t *message = NULL;
    dsv4_error why = {0};
    char *whole = malloc(n + sizeof end_of_answer);
    if (whole == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for an answer of %zu bytes", n);
    }
    memcpy(whole, text, n);
    memcpy(whole + n, end_of_answer, sizeof end_of_answer);
    if (chat_parse(whole, n + sizeof end_of_answer - 1, thinks(o), &message, &why) != DSV4_OK) {
        message = json_pack("{s:s%}", "content", text, n); /* an answer that was cut, or is not well formed: all of it */
    }
    free(whole);
    if (message == NULL || json_object_set_new(message, "role", json_string("assistant")) != 0 ||
        json_array_append(messages, message) != 0) {
        json_decref(message);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for an answer of %zu bytes", n);
    }
    json_decref(message);
    return DSV4_OK;
}
