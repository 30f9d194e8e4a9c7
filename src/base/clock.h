/* base/clock.h - monotonic time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

/* Seconds since an arbitrary start, never decreasing. Any thread. */
double clock_s(void);

#endif
