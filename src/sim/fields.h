/* sim/fields.h - the numbers of a description, one table for each kind of object: what is read, written and set by path. */
#ifndef SIM_FIELDS_H
#define SIM_FIELDS_H

#include "sim/device.h"

typedef enum sim_field_type { SIM_REAL, SIM_INT, SIM_BOOL } sim_field_type;

typedef struct sim_field {
    const char *name; /* NULL behind the last */
    sim_field_type type;
    size_t offset; /* of a double, int or bool in the object's structure */
    double low, high;
    bool required;
    double absent; /* what it is where the file does not say */
} sim_field;

extern const sim_field sim_core_fields[], sim_rate_fields[], sim_buffer_fields[], sim_level_fields[], sim_schedule_fields[],
    sim_device_fields[];

/* The names of sim_buffer_use in files. */
enum { SIM_N_BUFFER_USES = SIM_BUFFER_VECTOR + 1 };
extern const char *const sim_buffer_use_names[SIM_N_BUFFER_USES];

/* The rates of a core kind by name; NULL behind the last. */
typedef struct sim_rate_name {
    const char *name;
    size_t offset; /* of a sim_rate in sim_core_kind */
} sim_rate_name;
extern const sim_rate_name sim_rate_names[];

double sim_field_get(const sim_field *f, const void *object);

/* False, and nothing stored, where the value is not one of the field's: out of range, not finite, not whole. */
bool sim_field_put(const sim_field *f, void *object, double value);

#endif
