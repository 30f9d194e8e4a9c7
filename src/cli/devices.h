/* cli/devices.h - where descriptions of devices are. */
#ifndef CLI_DEVICES_H
#define CLI_DEVICES_H

#include "sim/device.h"

/* Reads the description in a file, or of a name: NAME.json in the folder $DSV4_DEVICES, in devices/ of the source tree, or in that
 * of the installation. "here" is this machine, measured in a few seconds. d zeroed before; sim_device_deinit always. */
DSV4_MUST_CHECK dsv4_status devices_read(const char *name_or_file, sim_device *d, dsv4_error *err);

#endif
