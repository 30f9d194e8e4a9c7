/* usage: json_get FILE [KEY...]
 * Prints the value that the keys lead to in a JSON file; a number is an index into an array. Fails where the file is no JSON or
 * there is no such value. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const json_t *step(const json_t *value, const char *key)
{
    return json_is_array(value) ? json_array_get(value, strtoul(key, NULL, 10)) : json_object_get(value, key);
}

int main(int argc, char **argv)
{
    json_error_t error;
    if (argc < 2) {
        fprintf(stderr, "usage: json_get FILE [KEY...]\n");
        return EXIT_FAILURE;
    }
    json_t *root = json_load_file(argv[1], JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    const json_t *value = root;
    for (int i = 2; i < argc; i++) {
        value = step(value, argv[i]);
    }
    if (value == NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], root == NULL ? error.text : "no such value");
    } else if (json_is_string(value)) {
        puts(json_string_value(value));
    } else {
        json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
        putchar('\n');
    }
    int code = value == NULL ? EXIT_FAILURE : EXIT_SUCCESS;
    json_decref(root);
    return code;
}
