/* Any bytes as an answer: either a one-line error, or a message whose content has no token that it must not have. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    for (int thinking = 0; thinking < 2; thinking++) {
        json_t *message = NULL;
        dsv4_error err = {0};
        if (chat_parse((const char *)bytes, n_bytes, thinking != 0, &message, &err) != DSV4_OK) {
            if (err.text[0] == '\0' || message != NULL) {
                abort();
            }
            continue;
        }
        const char *content = json_string_value(json_object_get(message, "content"));
        if (content == NULL || strstr(content, "</think>") != NULL || strstr(content, "｜DSML｜") != NULL ||
            !json_is_array(json_object_get(message, "tool_calls"))) {
            abort();
        }
        json_decref(message);
    }
    return 0;
}
