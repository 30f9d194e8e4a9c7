# A thin front for CMake and its presets (CMakePresets.json): `make help` says what there is.
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 5
TESTED ?= release
DSV4 := build/release/dsv4
# cppcheck cannot follow "ok = p != NULL" (nullPointerOutOfMemory) nor arrays of no dimension (uninitvar); parts of a worker's scratch
# are cut from bytes (invalidPointerCast).
CPPCHECK_OFF := nullPointerOutOfMemory uninitvar normalCheckLevelMaxBranches invalidPointerCast
# ThreadSanitizer needs address space layout randomisation off where the kernel randomises more bits than it knows.
NO_ASLR := $(shell setarch -R true 2>/dev/null && echo setarch -R)
CHECKS := check-format check-layers check-static check-warnings check-asan check-tsan check-fuzz check-install

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: help setup setup-bench setup-all build run test bench bench-peers ablations forecast numerics format check $(CHECKS) check-matrix install clean

help:
	@echo 'make             build build/release/dsv4 and the library'
	@echo 'make run         build, check the test vectors, run one attention layer and write its trace, generate text'
	@echo 'make test        build and run every test (TESTED=gcc: of the build of check-warnings, which differs in -Werror alone)'
	@echo 'make bench       measure the kernels, write bench/results/ and the tables of README.md; the runtime against its peers'
	@echo 'make bench-peers  measure against oneDNN and OpenBLAS, which it installs'
	@echo 'make forecast    predict this machine with its simulation, measure it, write docs/FORECAST.md'
	@echo 'make ablations   measure and simulate the techniques, write docs/ABLATIONS.md'
	@echo 'make numerics    measure what rounding costs and brings, write docs/NUMERICS.md; MODEL=DIR: also on a larger model'
	@echo 'make format      lay out the C files by .clang-format'
	@echo 'make check       everything a change must pass: test and $(CHECKS:check-%=%) (each alone: make check-NAME)'
	@echo 'make check-matrix  run the attention layers of flash and pro at all positions of interest: hours, or CASES="flash decode 4"'
	@echo 'make install     install under PREFIX=$(PREFIX), staged in DESTDIR when given'
	@echo 'make clean       remove build/'
	@echo 'Missing Debian packages are installed when run as root; otherwise the apt-get command is printed.'

setup:
	@tools/setup.sh

setup-bench:
	@tools/setup.sh bench

setup-all:
	@tools/setup.sh all

build/%/build.ninja: CMakePresets.json | setup
	cmake --preset $* --log-level=WARNING

build: setup build/release/build.ninja
	cmake --build --preset release

run: build
	$(DSV4) check tests/vectors/*.safetensors
	$(DSV4) run attention --preset flash --mode decode --compress-ratio 4 --batch 4 --seq 2 --start-pos 8192 \
	  --trace build/attention_csa.trace.json
	$(DSV4) generate -p "In the beginning" -n 60

test: setup build/$(TESTED)/build.ninja
	cmake --build --preset $(TESTED)
	ctest --preset $(TESTED)

bench: build
	tools/bench.sh $(DSV4)
	tools/bench_table.sh
	$(DSV4) bench rt

bench-peers: setup setup-bench build/peers/build.ninja
	cmake --build --preset peers --target dsv4_program
	build/peers/dsv4 bench peers

forecast: build
	$(DSV4) bench forecast --markdown docs/FORECAST.md

ablations: build
	$(DSV4) ablate --markdown docs/ABLATIONS.md

numerics: build
	tools/numerics.sh $(DSV4) $(MODEL) > build/NUMERICS.md
	mv build/NUMERICS.md docs/NUMERICS.md

format: setup-all
	tools/format.sh

check: $(CHECKS) test

check-format: setup-all
	tools/format.sh --check

check-layers: setup
	cmake -DROOT=$(CURDIR) -P cmake/check_layers.cmake

check-static: setup-all
	cppcheck -Iinclude -Isrc -D_GNU_SOURCE -DDSV4_X86 --std=c11 --enable=warning,portability,performance \
	  $(CPPCHECK_OFF:%=--suppress=%) --inline-suppr --error-exitcode=1 --quiet -j 2 src

check-warnings: setup-all build/gcc/build.ninja build/clang/build.ninja
	cmake --build --preset gcc
	cmake --build --preset clang

check-asan: setup build/asan/build.ninja
	cmake --build --preset asan
	ctest --preset asan

check-tsan: setup build/tsan/build.ninja
	cmake --build --preset tsan
	$(NO_ASLR) ctest --preset tsan

check-fuzz: setup-all build/fuzz/build.ninja
	cmake --build --preset fuzz --target fuzzers
	tools/fuzz.sh $(FUZZ_SECONDS)

check-install: setup-all
	tools/check_install.sh

check-matrix: build
	tools/check_matrix.sh $(CASES)

install: build
	cmake --preset release --log-level=WARNING -DCMAKE_INSTALL_PREFIX=$(PREFIX)
	cmake --build --preset release
	DESTDIR=$(DESTDIR) cmake --install build/release

clean:
	rm -rf build
