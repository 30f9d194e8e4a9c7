/* base/progress.h - a progress bar on stderr, for work that takes long.
 *
 * Shown only when stderr is a terminal, only after half a second, at most ten times a second, and erased when done. A caller passes
 * a progress * down (NULL: silent); layers below report and never print. */
#ifndef BASE_PROGRESS_H
#define BASE_PROGRESS_H

#include <stdbool.h>

typedef struct progress {
    const char *label; /* borrowed */
    double started_s, drawn_s;
    bool on_terminal, drawn;
} progress;

progress progress_begin(const char *label);
void progress_report(progress *p, double share); /* share done, 0..1; p may be NULL */
void progress_end(progress *p);

#endif
