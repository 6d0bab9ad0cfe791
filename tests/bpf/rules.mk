# SPDX-License-Identifier: GPL-2.0-only
# The programs of tests/bpf and tests/bench/packets.py; included by the Makefile.

$(B)/tests/bpf-packets: tests/bpf/packets.c $(B)/bpf/egress.skel.h $(wildcard bpf/lib/*.h maps/*.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) $(LDFLAGS) $< $(shell pkg-config --libs libbpf libelf zlib) \
		-pthread -o $@

$(B)/tests/bpf-gateway: tests/bpf/gateway.c $(B)/bpf/egress.skel.h $(B)/bpf/gateway.skel.h \
		$(wildcard maps/*.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) $(LDFLAGS) $< $(shell pkg-config --libs libbpf libelf zlib) \
		-o $@

$(B)/bpf/packets.bpf.o: tests/bench/packets.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPFFLAGS) -c $< -o $@

$(B)/tests/bench-packets: tests/bench/packets.c $(B)/bpf/egress.skel.h $(B)/bpf/packets.skel.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) $(LDFLAGS) $< $(shell pkg-config --libs libbpf libelf zlib) \
		-o $@

$(B)/tests/bench-gateway: tests/bench/gateway.c $(B)/bpf/gateway.skel.h $(B)/bpf/packets.skel.h
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) $(LDFLAGS) $< $(shell pkg-config --libs libbpf libelf zlib) \
		-o $@

test-programs: $(B)/tests/bpf-packets $(B)/tests/bpf-gateway
bench: $(B)/tests/bench-packets $(B)/tests/bench-gateway

# The gateway fence alone: a packet's ns, and packets per second on the wire. BENCH=--quick: minutes.
.PHONY: bench-gateway check-packets
bench-gateway: all $(B)/tests/bench-gateway $(B)/tests/flood
	$(PYTHON) tests/bench/gateway.py $(BENCH)

# So many random packets through the programs of uplinks and gateway, judged by the rules in Python.
PACKETS ?= 10000000
check-packets: $(B)/tests/bpf-gateway
	$(PYTHON) tests/bpf/test_gateway_packets.py $(PACKETS)
