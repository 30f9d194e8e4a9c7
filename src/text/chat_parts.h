/* text/chat_parts.h - what the files of the chat encoding share: its tokens, text that grows, messages in work. */
#ifndef TEXT_CHAT_PARTS_H
#define TEXT_CHAT_PARTS_H

#include "text/chat.h"

#define CHAT_BOS "<｜begin▁of▁sentence｜>"
#define CHAT_EOS "<｜end▁of▁sentence｜>"
#define CHAT_USER "<｜User｜>"
#define CHAT_ASSISTANT "<｜Assistant｜>"
#define CHAT_REMINDER "<｜latest_reminder｜>"
#define CHAT_ACTION "<｜action｜>"
#define CHAT_THINK "<think>"
#define CHAT_UNTHINK "</think>"
#define CHAT_DSML "｜DSML｜"
#define CHAT_CALLS "\n\n<" CHAT_DSML "tool_calls"
#define CHAT_CALLS_END "</" CHAT_DSML "tool_calls>"
#define CHAT_INVOKE "<" CHAT_DSML "invoke"
#define CHAT_INVOKE_END "</" CHAT_DSML "invoke>"
#define CHAT_PARAMETER "<" CHAT_DSML "parameter name=\""
#define CHAT_PARAMETER_END "</" CHAT_DSML "parameter>"

/* ---- text that grows -------------------------------------------------------------------------------------------------- */

/* Zero-initialise; end with free(bytes). Once there is no memory, nothing more is added. */
typedef struct chat_text {
    char *bytes; /* a 0 follows them, once there are any */
    size_t n, size;
    bool no_memory;
} chat_text;

void chat_add_bytes(chat_text *t, const char *bytes, size_t n);
void chat_add(chat_text *t, const char *text);
void chat_add_string(chat_text *t, const json_t *string); /* its bytes; nothing for what is no string */

/* The value as the json module of Python writes it, which is what the models were trained on: ", " and ": ", only what must be
 * escaped is, the shortest digits of a number. */
void chat_add_json(chat_text *t, json_t *value);
void chat_add_json_string(chat_text *t, const char *bytes, size_t n);

/* ---- messages in work --------------------------------------------------------------------------------------------------- */

typedef enum chat_role {
    CHAT_ROLE_SYSTEM,
    CHAT_ROLE_USER,
    CHAT_ROLE_ASSISTANT,
    CHAT_ROLE_TOOL,
    CHAT_ROLE_DEVELOPER,
    CHAT_ROLE_REMINDER,
    CHAT_N_ROLES
} chat_role;

/* A part of a user's message: text, or the result of a tool. */
typedef struct chat_block {
    bool is_result;
    const json_t *content, *call; /* call: the id of the call it answers, may be NULL */
} chat_block;

typedef struct chat_message {
    chat_role role;
    size_t number;      /* as it came */
    const json_t *json; /* the first of merged ones */
    const char *task;   /* its token; NULL: none */
    chat_block *blocks; /* of a user */
    size_t n_blocks;
} chat_message;

/* Messages checked: tool messages and neighbouring user messages have become one user message. */
typedef struct chat_list {
    chat_message *items;
    chat_block *blocks;
    size_t n;
} chat_list;

DSV4_MUST_CHECK dsv4_status chat_list_make(const char *source, const json_t *messages, chat_list *list, dsv4_error *err);
void chat_list_deinit(chat_list *list);

#endif
