/* dsv4/status.h - how every function of the library reports failure.
 *
 * A function that can fail returns a dsv4_status; 0 is success. It sets its outputs only on success. A function that takes a
 * dsv4_error also writes one line there that names what was wrong: file, tensor, got, expected, what to do. Functions never print,
 * never exit. */
#ifndef DSV4_STATUS_H
#define DSV4_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DSV4_MUST_CHECK __attribute__((warn_unused_result))
#define DSV4_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define DSV4_MUST_CHECK
#define DSV4_PRINTF(fmt, args)
#endif

/* code, meaning, first remedy */
#define DSV4_STATUS_LIST(X)                                                                                  \
    X(DSV4_OK, "success", "")                                                                                \
    X(DSV4_E_USAGE, "bad usage", "see --help")                                                               \
    X(DSV4_E_IO, "file cannot be read or written", "check the path and its permissions")                     \
    X(DSV4_E_FORMAT, "malformed file", "fetch or write the file again")                                      \
    X(DSV4_E_SHAPE, "shape or dtype differs", "compare the tensor with the operator's table (dsv4 list OP)") \
    X(DSV4_E_VALUE, "value not allowed", "choose a value that obeys the named rule")                         \
    X(DSV4_E_NOT_FOUND, "name unknown", "see dsv4 list")                                                     \
    X(DSV4_E_NO_MEMORY, "out of memory", "use smaller dimensions or a larger machine")                       \
    X(DSV4_E_GRAPH, "graph declared wrongly", "correct the stage, block and box that the message names")     \
    X(DSV4_E_MISMATCH, "result differs", "see the reported element")                                         \
    X(DSV4_E_UNSUPPORTED, "not available on this machine or in this build", "choose another setting")

typedef enum dsv4_status {
#define DSV4_STATUS_ENUM(code, text, remedy) code,
    DSV4_STATUS_LIST(DSV4_STATUS_ENUM)
#undef DSV4_STATUS_ENUM
        DSV4_N_STATUS
} dsv4_status;

/* One line of context for a failure. Owned by the caller; zero-initialise it. Not shared between threads. */
typedef struct dsv4_error {
    dsv4_status status;
    char text[512];
} dsv4_error;

/* Static text of a status ("malformed file"), and what to try first. Any value is accepted. */
const char *dsv4_status_text(dsv4_status status);
const char *dsv4_status_remedy(dsv4_status status);

/* Records status and the formatted line in err (which may be NULL) and returns status, so that a caller writes
 * `return dsv4_fail(err, DSV4_E_SHAPE, "%s: ...", name)`. Text that does not fit is cut; zeros follow it. Control characters,
 * which may come from an untrusted file, become '?'. */
dsv4_status dsv4_fail(dsv4_error *err, dsv4_status status, const char *format, ...) DSV4_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif
#endif
