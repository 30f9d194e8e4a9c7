/* model/packed_folder.h - the folder that a conversion writes: what may be there before, and the small files. */
#ifndef MODEL_PACKED_FOLDER_H
#define MODEL_PACKED_FOLDER_H

#include "base/file.h"
#include "model/packed_file.h"

typedef struct packed_folder {
    char path[FILE_PATH_BYTES], part[FILE_PATH_BYTES], whole[FILE_PATH_BYTES]; /* itself, and the two names of the weights */
} packed_folder;

/* Its names; touches nothing. The caller frees. */
DSV4_MUST_CHECK dsv4_status packed_folder_create(const char *path, packed_folder **out, dsv4_error *err);

/* The text of the checkpoint's config.json, which the caller frees, and a number that tells the checkpoint's files from others: of
 * their names, sizes and times. */
DSV4_MUST_CHECK dsv4_status packed_folder_source(const model_checkpoint *c, char **config, size_t *config_bytes, uint32_t *source,
                                                 dsv4_error *err);

/* Makes the folder, or sees that everything in it is of a conversion. *is_complete: it holds just that file already, and not to be
 * made again; what else a conversion that was ended left is removed. DSV4_E_VALUE: something else is there. */
DSV4_MUST_CHECK dsv4_status packed_folder_prepare(const packed_folder *f, const packed_file *file, bool restart, bool *is_complete,
                                                  dsv4_error *err);

/* A conversion was stopped. True: it was to replace whole weights, which stay, and what it has done is removed. */
bool packed_folder_give_up(const packed_folder *f);

/* Can the small files be read? tokenizer.json and the two behind it need not be there. */
DSV4_MUST_CHECK dsv4_status packed_folder_check_small(const char *published, dsv4_error *err);

/* Copies the small files of the published folder where they are not there already. */
DSV4_MUST_CHECK dsv4_status packed_folder_copy_small(const packed_folder *f, const char *published, dsv4_error *err);

/* Copies the small files and gives the weights their name. */
DSV4_MUST_CHECK dsv4_status packed_folder_finish(const packed_folder *f, const char *published, dsv4_error *err);

#endif
