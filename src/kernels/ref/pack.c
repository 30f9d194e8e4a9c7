#include "kernels/lanes.h"

void uk_scalar_pack(uk_source w, void *panel)
{
    if (w.elem_bytes == 1) {
        uk_pack_lanes(&w, 1, 0, uk_lanes_of(&w, 1), 0, panel);
    } else if (w.elem_bytes == 2) {
        uk_pack_lanes(&w, 2, 0, uk_lanes_of(&w, 2), 0, panel);
    } else {
        uk_pack_lanes(&w, 4, 0, uk_lanes_of(&w, 4), 0, panel);
    }
}
