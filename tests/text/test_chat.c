/* Prompts and answers against what the published encoder gives, and what is refused. */
#include "published.h"
#include "text/chat.h"

/* ---- prompts --------------------------------------------------------------------------------------------------------------- */

static bool is_text(const json_t *row, const char *key, const char *expected)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text != NULL && strcmp(text, expected) == 0;
}

static chat_options options_of(const json_t *row)
{
    return (chat_options){.thinking = is_text(row, "mode", "thinking"),
                          .effort = is_text(row, "effort", "low")    ? CHAT_EFFORT_LOW
                                    : is_text(row, "effort", "high") ? CHAT_EFFORT_HIGH
                                    : is_text(row, "effort", "max")  ? CHAT_EFFORT_MAX
                                                                     : CHAT_EFFORT_UNSET,
                          .edition = is_text(row, "edition", "0731") ? CHAT_0731 : CHAT_PREVIEW,
                          .keep_thinking = !json_is_true(json_object_get(row, "drop_thinking"))};
}

static void expect_prompt(void *context, const json_t *row, int line)
{
    const tokenizer *t = context;
    const json_t *expected = json_object_get(row, "prompt"), *ids = json_object_get(row, "ids");
    const chat_options options = options_of(row);
    dsv4_error err = {0};
    tokenizer_ids got = {0};
    char *prompt = NULL;
    size_t n = 0;
    require_ok(chat_render("chat", json_object_get(row, "messages"), &options, &prompt, &n, &err), &err);
    if (n != json_string_length(expected) || memcmp(prompt, json_string_value(expected), n + 1) != 0) {
        fail_msg("line %d: got\n%s\nexpected\n%s", line, prompt, json_string_value(expected));
    }
    require_ok(tokenizer_encode(t, prompt, n, &got, &err), &err);
    assert_int_equal(got.n, json_array_size(ids));
    for (size_t i = 0; i < got.n; i++) {
        assert_int_equal(got.items[i], json_integer_value(json_array_get(ids, i)));
    }
    free(got.items);
    free(prompt);
}

static void prompts_and_ids_are_those_of_the_published_encoder(void **state)
{
    (void)state;
    tokenizer *t = read_published_tokenizer();
    assert_int_equal(jsonl_each(DATA "/chat_cases.jsonl", expect_prompt, t), 39);
    tokenizer_free(t);
}

static char *render_text(const char *json, const chat_options *options, dsv4_error *err)
{
    json_t *messages = NULL;
    char *prompt = NULL;
    size_t n = 0;
    if (chat_messages_parse("chat", json, strlen(json), &messages, err) == DSV4_OK &&
        chat_render("chat", messages, options, &prompt, &n, err) == DSV4_OK) {
        assert_int_equal(strlen(prompt), n);
    }
    json_decref(messages);
    return prompt;
}

/* What json.dumps of Python 3 gives for such a schema. */
static void schemas_are_written_as_python_does(void **state)
{
    (void)state;
    static const struct {
        const char *value, *written;
    } cases[] = {
        {"0.1", "0.1"},
        {"1.0", "1.0"},
        {"-0.0", "-0.0"},
        {"100000.0", "100000.0"},
        {"1e15", "1000000000000000.0"},
        {"123456789012345680.0", "1.2345678901234568e+17"},
        {"1e16", "1e+16"},
        {"0.0001", "0.0001"},
        {"0.00012", "0.00012"},
        {"0.00001", "1e-05"},
        {"12.5e-7", "1.25e-06"},
        {"1e300", "1e+300"},
        {"5e-324", "5e-324"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"1234.5", "1234.5"},
        {"9223372036854775807", "9223372036854775807"},
        {"-5", "-5"},
        {"[ ]", "[]"},
        {"[1,{},[true,false,null]]", "[1, {}, [true, false, null]]"},
        {"{\"b\":1,\"a\":2}", "{\"b\": 1, \"a\": 2}"},
        {"\"\\u0001\\u001f\\u007f\\b\\f\\n\\r\\t\\\"\\\\\\/\\u4e2d\"", "\"\\u0001\\u001f\x7f\\b\\f\\n\\r\\t\\\"\\\\/中\""}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[512], expected[512];
        dsv4_error err = {0};
        snprintf(json, sizeof json, "[{\"role\":\"system\",\"response_format\":{\"x\":%s}}]", cases[i].value);
        snprintf(expected, sizeof expected,
                 "<｜begin▁of▁sentence｜>\n\n## Response Format:\n\nYou MUST strictly adhere to the following schema to reply:\n"
                 "{\"x\": %s}",
                 cases[i].written);
        char *prompt = render_text(json, &(chat_options){0}, &err);
        assert_non_null(prompt);
        assert_string_equal(prompt, expected);
        free(prompt);
    }
}

static void tools_of_a_file_go_to_the_system_message(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [{\"function\": {\"name\": \"f\"}}]}",
         "[{\"role\": \"system\", \"tools\": [{\"function\": {\"name\": \"f\"}}]}, {\"role\": \"user\", \"content\": \"a\"}]"},
        {"{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}], \"tools\": [{\"function\": {\"name\": \"f\"}}]}",
         "[{\"role\": \"system\", \"content\": \"s\", \"tools\": [{\"function\": {\"name\": \"f\"}}]}]"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}", "[{\"role\": \"user\", \"content\": \"a\"}]"}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        dsv4_error err = {0};
        char *a = render_text(same[i][0], &(chat_options){0}, &err), *b = render_text(same[i][1], &(chat_options){0}, &err);
        assert_non_null(a);
        assert_non_null(b);
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
}

static void bad_messages_are_refused(void **state)
{
    (void)state;
#define USER "{\"role\": \"user\", \"content\": \"a\"}"
    static const struct {
        const char *json, *message;
    } cases[] = {
        {"", "chat: line 1, column 0: no valid JSON: '[' or '{' expected near end of file"},
        {"[", "no valid JSON"},
        {"{}", "chat: expected an array of messages, or an object with a member messages"},
        {"[]", "chat: messages: expected an array of at least one"},
        {"[7]", "chat: messages[0]: expected an object"},
        {"[" USER ", {}]", "chat: messages[1].role: expected \"system\", "},
        {"[{\"role\": \"robot\", \"content\": \"a\"}]", "messages[0].role: expected \"system\", "},
        {"[" USER ", {\"role\": \"user\"}]", "messages[1].content: expected a text"},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]", "messages[0].content: expected a text"},
        {"[{\"role\": \"assistant\", \"content\": 5}]", "messages[0].content: expected a text"},
        {"[{\"role\": \"assistant\", \"reasoning_content\": 5}]", "messages[0].reasoning_content: expected a text"},
        {"[{\"role\": \"tool\", \"content\": \"\", \"tool_call_id\": 5}]", "messages[0].tool_call_id: expected a text"},
        {"[{\"role\": \"user\", \"content\": \"a\", \"task\": \"sing\"}]", "messages[0].task: expected \"action\""},
        {"[{\"role\": \"system\", \"tools\": {}}]", "messages[0].tools: expected an array"},
        {"[{\"role\": \"system\", \"tools\": [{}]}]", "messages[0].tools: expected objects with an object function"},
        {"[{\"role\": \"assistant\", \"tool_calls\": 1}]", "messages[0].tool_calls: expected an array"},
        {"[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {}}]}]", "tool_calls: expected a text function.name"},
        {"[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {}}}]}]",
         "tool_calls: expected a text function.arguments"},
        {"[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": "
         "\"{\\\"x\\\": 99999999999999999999}\"}}]}]",
         "chat: messages[0].tool_calls: arguments: too big integer"},
        {"{\"messages\": [{\"role\": \"system\", \"tools\": []}], \"tools\": []}", "chat: tools: messages[0] has its own"},
        {"{\"messages\": [" USER "], \"tools\": 5}", "messages[0].tools: expected an array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dsv4_error err = {0};
        char *prompt = render_text(cases[i].json, &(chat_options){0}, &err);
        if (prompt != NULL || strstr(err.text, cases[i].message) == NULL || strncmp(err.text, "chat: ", 6) != 0) {
            fail_msg("%s: got \"%s\", expected \"%s\"", cases[i].json, err.text, cases[i].message);
        }
    }
    dsv4_error err = {0};
    assert_null(render_text("[" USER "]", &(chat_options){.thinking = true, .effort = CHAT_EFFORT_LOW}, &err));
    assert_string_equal(err.text, "chat: effort low is none of the edition preview, expected high or max");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    char *json = malloc(DEPTH + 200);
    int n = sprintf(json, "[{\"role\": \"system\", \"response_format\": ");
    memset(json + n, '[', DEPTH);
    json[n + DEPTH] = '\0';
    dsv4_error err = {0};
    assert_null(render_text(json, &(chat_options){0}, &err));
    assert_non_null(strstr(err.text, "maximum parsing depth reached"));
    free(json);
}

/* ---- answers ---------------------------------------------------------------------------------------------------------------- */

static void expect_answer(void *context, const json_t *row, int line)
{
    (void)context;
    const json_t *text = json_object_get(row, "text"), *expected = json_object_get(row, "ok");
    json_t *message = NULL;
    dsv4_error err = {0};
    const dsv4_status status =
        chat_parse(json_string_value(text), json_string_length(text), is_text(row, "mode", "thinking"), &message, &err);
    if (expected == NULL) {
        assert_int_equal(status, DSV4_E_FORMAT);
        assert_null(message);
        assert_int_equal(strncmp(err.text, "answer: ", 8), 0);
        return;
    }
    require_ok(status, &err);
    if (!json_equal(message, expected)) {
        fail_msg("line %d: got %s", line, json_dumps(message, 0));
    }
    json_decref(message);
}

static void answers_are_parsed_as_expected(void **state)
{
    (void)state;
    assert_int_equal(jsonl_each(DATA "/chat_parse.jsonl", expect_answer, NULL), 14);
}

/* An answer as a prompt has it, and what it was. */
static void a_rendered_answer_is_parsed_back(void **state)
{
    (void)state;
    static const char json[] =
        "[{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"c\", \"reasoning_content\": \"r\", "
        "\"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}, "
        "{\"type\": \"function\", \"function\": {\"name\": \"g\", \"arguments\": \"{\\\"a\\\": \\\"x\\\\ny\\\", \\\"b\\\": [1, "
        "2.5]}\"}}]}]";
    dsv4_error err = {0};
    json_t *messages = NULL, *message = NULL;
    char *prompt = render_text(json, &(chat_options){.thinking = true}, &err);
    assert_non_null(prompt);
    const char *answer = strstr(prompt, "<think>") + strlen("<think>");
    require_ok(chat_parse(answer, strlen(answer), true, &message, &err), &err);
    require_ok(chat_messages_parse("chat", json, strlen(json), &messages, &err), &err);
    json_object_set_new(message, "role", json_string("assistant"));
    assert_true(json_equal(message, json_array_get(messages, 1)));
    json_decref(messages);
    json_decref(message);
    free(prompt);
}

static void bad_bytes_of_an_answer_are_named(void **state)
{
    (void)state;
    dsv4_error err = {0};
    json_t *message = NULL;
    assert_int_equal(chat_parse("ab\xff", 3, false, &message, &err), DSV4_E_FORMAT);
    assert_string_equal(err.text, "answer: byte 2 is not UTF-8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_and_ids_are_those_of_the_published_encoder),
        cmocka_unit_test(schemas_are_written_as_python_does),
        cmocka_unit_test(tools_of_a_file_go_to_the_system_message),
        cmocka_unit_test(bad_messages_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(answers_are_parsed_as_expected),
        cmocka_unit_test(a_rendered_answer_is_parsed_back),
        cmocka_unit_test(bad_bytes_of_an_answer_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
