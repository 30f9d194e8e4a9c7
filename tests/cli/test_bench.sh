#!/usr/bin/env bash
# usage: test_bench.sh PROGRAM MAKE_BAD_FILES JSON_GET CHANGE_FILE VECTORS
# `bench rt` runs to its end, checks its own counters, and reports every contender. How fast it is, is not tested.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/expect.sh"

accepts bench rt --rounds 1 --json bench.json
for row in chain all neighbours free uneven 'row tiles' '2-D tiles' 'plain tasks'; do
    prints "^$row  +"
done
has_json bench.json 1 rounds
has_json bench.json chain blocks 0 name
has_json bench.json 10000 blocks 0 blocks
has_json bench.json dsv4 blocks 0 contenders 0 name
has_json bench.json 'dsv4 traced' blocks 3 contenders 1 name
has_json bench.json uneven uneven 0 name
has_json bench.json 'row tiles' seal 0 shape
has_json bench.json 1000000 seal 1 boxes
finish
