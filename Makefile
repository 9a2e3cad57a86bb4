# SPDX-License-Identifier: MIT
#
# The front door. CMakeLists.txt is the build; this file only gives its steps short names.

BUILD ?= build
JOBS ?= $(shell nproc)
FUZZ_SECONDS ?= 30
T ?=

MAKEFLAGS += --no-print-directory

.NOTPARALLEL:
.DEFAULT_GOAL := build
.PHONY: build run test check format asan fuzz bench docs clean help deps deps-run deps-test

build: deps
	@cmake -S . -B $(BUILD) --log-level=WARNING
	@cmake --build $(BUILD) --parallel $(JOBS) --target perigee

run: deps-run build
	@examples/ecommerce/run

test: deps-test
	@cmake -S . -B $(BUILD) --log-level=WARNING
	@cmake --build $(BUILD) --parallel $(JOBS)
	@tools/run_tests --build $(BUILD) $(T)

check: deps-test
	@tools/check

format: deps-test
	@tools/check --format

asan: deps-test
	@cmake -S . -B $(BUILD)-asan -DPERIGEE_SANITIZE=ON --log-level=WARNING
	@cmake --build $(BUILD)-asan --parallel $(JOBS)
	@tools/run_tests --build $(BUILD)-asan $(T)

fuzz:
	@tools/deps build fuzz
	@cmake -S . -B $(BUILD)-fuzz -DCMAKE_C_COMPILER=clang -DPERIGEE_SANITIZE=ON -DPERIGEE_FUZZ=ON --log-level=WARNING
	@cmake --build $(BUILD)-fuzz --parallel $(JOBS)
	@tools/run_fuzz $(BUILD)-fuzz $(FUZZ_SECONDS)

bench: build
	@tools/deps test bench
	@PERIGEE=$(BUILD)/perigee bench/run
	@PERIGEE=$(BUILD)/perigee bench/instructions --compare

docs: deps-test
	@tools/docs

clean:
	@rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-fuzz

deps:
	@tools/deps build

deps-run:
	@tools/deps build run

deps-test:
	@tools/deps build test

help:
	@echo 'make            build $(BUILD)/perigee'
	@echo 'make run        build, then run the e-commerce example until Ctrl-C'
	@echo 'make test       every test; T=path for one file or folder (C, Lua or Python)'
	@echo 'make check      format, lint, layers, sizes, documentation'
	@echo 'make format     rewrite the C files in the house format'
	@echo 'make asan       the same tests under AddressSanitizer and UBSan; T=path as above'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS (default 30)'
	@echo 'make bench      compare with nginx, HAProxy and a bare relay'
	@echo 'make docs       write docs/reference/'
	@echo 'make clean      remove what was built'
	@echo 'Each installs missing Debian packages first (tools/deps).'
