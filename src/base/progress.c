#include "base/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { BAR_WIDTH = 30, LABEL_WIDTH = 32 };

static const double delay_s = 0.5, interval_s = 0.1;

progress progress_begin(const char *label)
{
    return (progress){.label = label, .started_s = clock_s(), .on_terminal = isatty(STDERR_FILENO)};
}

static void draw_bar(const char *label, double share)
{
    char bar[BAR_WIDTH + 1];
    int n_done = (int)(share * BAR_WIDTH);
    for (int i = 0; i < BAR_WIDTH; i++) {
        bar[i] = i < n_done ? '#' : '.';
    }
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "\r%.*s [%s] %3d%%", LABEL_WIDTH, label, bar, (int)(share * 100));
    fflush(stderr);
}

void progress_report(progress *p, double share)
{
    if (!p || !p->on_terminal) {
        return;
    }
    double now_s = clock_s();
    if (now_s - p->started_s < delay_s || (p->drawn && now_s - p->drawn_s < interval_s)) {
        return;
    }
    share = share > 0 ? share : 0; /* NaN too */
    draw_bar(p->label, share < 1 ? share : 1);
    p->drawn_s = now_s;
    p->drawn = true;
}

void progress_end(progress *p)
{
    if (p && p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->drawn = false;
    }
}
