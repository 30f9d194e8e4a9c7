/* Any bytes as a file of messages: either a one-line error, or prompts of every mode. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/chat.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check_prompt(const json_t *messages, const chat_options *options)
{
    static const char begin[] = "<｜begin▁of▁sentence｜>";
    char *prompt = NULL;
    size_t n = 0;
    dsv4_error err = {0};
    if (chat_render("fuzz", messages, options, &prompt, &n, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || prompt != NULL) {
            abort();
        }
        return;
    }
    if (strncmp(prompt, begin, strlen(begin)) != 0 || prompt[n] != '\0' || utf8_valid_bytes(prompt, n) != n) {
        abort();
    }
    free(prompt);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    json_t *messages = NULL;
    dsv4_error err = {0};
    if (chat_messages_parse("fuzz", (const char *)bytes, n_bytes, &messages, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || messages != NULL) {
            abort();
        }
        return 0;
    }
    check_prompt(messages, &(chat_options){0});
    check_prompt(messages, &(chat_options){.thinking = true, .effort = CHAT_EFFORT_MAX});
    check_prompt(messages, &(chat_options){.thinking = true, .edition = CHAT_0731, .keep_thinking = true});
    json_decref(messages);
    return 0;
}
