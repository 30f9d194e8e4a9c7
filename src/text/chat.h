/* text/chat.h - the chat encoding of DeepSeek-V4: messages to the text that the model continues, and its answer back to a message.
 *
 * Messages are OpenAI style: {"role": "system" | "user" | "assistant" | "tool" | "developer" | "latest_reminder", "content": text},
 * an assistant's with "reasoning_content" and "tool_calls" (their "arguments" a text), a tool's with "tool_call_id", those of system
 * and developer with "tools" and "response_format". DeepSeek's own: "task" of a user or an assistant, "wo_eos" (an answer to be
 * continued). Other members are not looked at. Content in parts and images are refused. */
#ifndef TEXT_CHAT_H
#define TEXT_CHAT_H

#include <jansson.h>
#include <stdbool.h>

#include "dsv4/status.h"

enum { CHAT_MAX_FILE_BYTES = 64 << 20 };

/* The checkpoints differ in what an effort adds to a thinking prompt. */
typedef enum chat_edition { CHAT_PREVIEW, CHAT_0731 } chat_edition;
typedef enum chat_effort { CHAT_EFFORT_UNSET, CHAT_EFFORT_LOW, CHAT_EFFORT_HIGH, CHAT_EFFORT_MAX } chat_effort;

/* Zeros: answers without thinking. */
typedef struct chat_options {
    bool thinking;
    chat_effort effort; /* of thinking; low is none of CHAT_PREVIEW */
    chat_edition edition;
    bool keep_thinking; /* also of turns before the last question; with tools it always stays */
} chat_options;

/* Reads a file of messages: an array, or {"messages": [...], "tools": [...]}, whose tools go to the system message in front, an empty
 * one if there is none. chat_messages_parse takes its text, chat_messages_find its JSON, which stays as it is; `source` is its name in
 * errors. End with json_decref. */
DSV4_MUST_CHECK dsv4_status chat_messages_read(const char *path, json_t **messages, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status chat_messages_parse(const char *source, const char *json, size_t n_bytes, json_t **messages,
                                                dsv4_error *err);
DSV4_MUST_CHECK dsv4_status chat_messages_find(const char *source, json_t *root, json_t **messages, dsv4_error *err);

/* The prompt, with all its special tokens, and a 0 behind it; the caller frees it. Fails on messages that break a rule, naming
 * message and member behind `source`. */
DSV4_MUST_CHECK dsv4_status chat_render(const char *source, const json_t *messages, const chat_options *options, char **prompt,
                                        size_t *n_bytes, dsv4_error *err);

/* One answer up to and with <｜end▁of▁sentence｜>, as {"reasoning_content", "content", "tool_calls"}; with `thinking`, it begins
 * inside <think>. Fails where it is not well formed. What a call gives as JSON goes to its "arguments" as it is. End with
 * json_decref. */
DSV4_MUST_CHECK dsv4_status chat_parse(const char *text, size_t n_bytes, bool thinking, json_t **message, dsv4_error *err);

#endif
