#!/usr/bin/env bash
# usage: test_forecast.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# dsv4 bench device and dsv4 bench forecast: this machine as a device, and predictions beside measurements.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

# ---- the machine as a description that the simulator takes
accepts bench device --out machine.json
prints 'BF16 .* G/s a core; of it by rows 1: '
prints 'memory +read +[0-9.]+ GB/s'
has_json machine.json core cores 0 name
has_json machine.json memory levels 0 name
accepts sim rmsnorm --preset tiny --device ./machine.json
prints 'makespan [0-9.]+ us'
refuses '--out: got "-", expected a file' bench device --out -
refuses 'bench device: got "x", expected options alone' bench device x

# ---- predictions
accepts bench forecast --preset tiny --context 256 --rounds 2 --only qkv_proj_rope --device machine.json --stages --json forecast.json \
    --markdown forecast.md
prints '^qkv_proj_rope +decode '
prints '^    qkv.q_proj +[0-9]+ +[0-9.]+ +[0-9.]+ '
prints '^makespans: median error '
has_json forecast.json qkv_proj_rope rows 0 op
has_json forecast.json prefill rows 2 mode
holds 'forecast.md has the row' grep -Eq '^\| qkv_proj_rope \| decode \|' forecast.md
refuses 'nowhere.json: .*' bench forecast --device nowhere.json --preset tiny --context 256
refuses 'bench forecast: got --only "nonsense", which it does not measure' bench forecast --only nonsense
finish
