/* base/file.h - files written whole or not at all, and read whole.
 *
 * file_writer writes beside the target under a temporary name; commit syncs and renames it over the target; abort (or a failed
 * commit) removes it and leaves the target as it was. A target that exists and is no regular file (a pipe, a device) is written
 * directly. "-" writes to standard output. Not for several threads at once.
 *
 * file_read takes a small file whole. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "dsv4/status.h"

enum { FILE_PATH_BYTES = 4096, FILE_SUFFIX_BYTES = 16 };

/* Between open and commit or abort; both end it, and abort after commit does nothing. */
typedef struct file_writer {
    FILE *stream; /* write here with stdio; errors are found by commit */
    char path[FILE_PATH_BYTES];
    char temporary[FILE_PATH_BYTES + FILE_SUFFIX_BYTES]; /* empty where the target is written directly */
} file_writer;

DSV4_MUST_CHECK dsv4_status file_writer_open(file_writer *w, const char *path, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status file_writer_commit(file_writer *w, dsv4_error *err);
void file_writer_abort(file_writer *w);

/* path = folder/name. DSV4_E_VALUE: it is too long. */
DSV4_MUST_CHECK dsv4_status file_join(const char *folder, const char *name, char path[FILE_PATH_BYTES], dsv4_error *err);

/* Is that what stands behind the target in the temporary name? Such a file is left where a program was ended. */
bool file_is_temporary_end(const char *end);

/* Would file_writer_open succeed? Leaves everything as it was; an existing pipe or device is not opened. */
DSV4_MUST_CHECK dsv4_status file_check_writable(const char *path, dsv4_error *err);

/* The bytes of a regular file of at most max_bytes, and a 0 behind them; the caller frees *bytes. DSV4_E_NOT_FOUND; DSV4_E_IO: cannot be
 * read or is no regular file; DSV4_E_FORMAT: larger than max_bytes. */
DSV4_MUST_CHECK dsv4_status file_read(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, dsv4_error *err);

/* DSV4_E_IO: the disk of that file or folder has less room than that. */
DSV4_MUST_CHECK dsv4_status file_check_space(const char *path, size_t n_bytes, dsv4_error *err);

#endif
