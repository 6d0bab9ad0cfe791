# SPDX-License-Identifier: GPL-2.0-only
# Included by the Makefile: what tests/bpf/rules.mk does not make of tests/bench, and its targets.

$(B)/bpf/path.bpf.o: tests/bench/path.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPFFLAGS) -c $< -o $@

$(B)/tests/bench-path: tests/bench/path.c $(B)/bpf/path.skel.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) $(LDFLAGS) $< $(shell pkg-config --libs libbpf libelf zlib) \
		-o $@

bench: $(B)/tests/bench-path
bench bench-gateway bench-observers-vm: export BUILD = $(abspath $(B))

# What watching costs, with auditd, in a virtual machine; and the tables of docs/PERFORMANCE.md.
KERNEL ?= 6.12
.PHONY: bench-observers-vm bench-document
bench-observers-vm: all $(B)/tests/bench-connect
	$(PYTHON) tests/bench/observers.py --vm $(KERNEL) --json $(B)/bench-observers-vm.json $(BENCH)

bench-document:
	BUILD=$(B) $(PYTHON) tests/bench/document.py
