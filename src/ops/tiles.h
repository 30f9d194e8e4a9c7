/* ops/tiles.h - tile parameters of a call, for op.c. */
#ifndef OPS_TILES_H
#define OPS_TILES_H

#include "ops/op.h"

/* Fills c->tile with the defaults of the mode, made smaller where a rule needs it. */
void op_set_default_tiles(const dsv4_op *op, op_context *c);

/* Applies one "NAME=VALUE"; refuses an unknown name and a value that breaks a rule. */
DSV4_MUST_CHECK dsv4_status op_set_tile(const dsv4_op *op, op_context *c, const char *set, dsv4_error *err);

#endif
