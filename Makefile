# SPDX-License-Identifier: GPL-2.0-only
# smtpfence. `make` builds, `make check` tests, `make on` does all that a host needs.

VERSION  := 0.1.0
PREFIX   ?= /usr/local
DESTDIR  ?=
CC       ?= cc
CLANG    ?= clang
PYTHON   ?= $(shell test -x /usr/bin/python3 && echo /usr/bin/python3 || echo python3)
# Ubuntu's /usr/sbin/bpftool is a wrapper that refuses where no tool of the running kernel is there.
BPFTOOL  ?= $(shell for t in bpftool /usr/sbin/bpftool /usr/lib/linux-tools/*/bpftool; do \
	$$t version >/dev/null 2>&1 && echo $$t && break; done)
B        ?= build

# Asked when something is first built, and once: `make deps` and `make on` run before they are there.
LIBS     := libbpf libelf zlib libconfuse smartcols libsystemd json-c sqlite3 libpcap
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(LIBS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs libbpf libelf zlib libconfuse sqlite3 libpcap))$(PKG_LIBS)
CPPFLAGS += -D_GNU_SOURCE -DSF_VERSION='"$(VERSION)"' -isystem $(B)/bpf $(PKG_CFLAGS)
CFLAGS   ?= -O2 -g
# Built anywhere, the same bytes (make check-reproducible): no path of this machine goes into them.
NOWHERE  := -ffile-prefix-map=$(CURDIR)=.
# What the code needs whatever CFLAGS says on the command line.
STRICT   := -std=gnu11 -Wall -Wextra -Wshadow -Wconversion -fstack-protector-strong $(SANITIZE) $(NOWHERE)
LDLIBS    = $(PKG_LIBS) -lpthread -lm
LDFLAGS  += -Wl,-z,relro,-z,now $(SANITIZE)

# BPF programs need no kernel headers but the uapi ones, and no running kernel.
BPF_INC  := $(shell $(CC) -print-multiarch 2>/dev/null)
BPFFLAGS  = -O2 -g -target bpf -mcpu=v3 -D__bpf__ -Wall -Wextra -Wno-unused-parameter $(NOWHERE) \
	    -I/usr/include/$(BPF_INC) $(shell pkg-config --cflags libbpf)

OBJECTS  := tables connect roles egress gateway
SKELS    := $(OBJECTS:%=$(B)/bpf/%.skel.h)
USER_O   := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard user/*.c user/detect/*.c)))
DAEMON_O := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard user/daemon/*.c)))
CLI_O    := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard cli/*.c)))
UNITS    := $(patsubst tests/unit/test_%.c,$(B)/tests/unit_%,$(wildcard tests/unit/test_*.c))

.SECONDARY: $(OBJECTS:%=$(B)/bpf/%.bpf.o)
BENCH_DETECT ?=
.PHONY: all check test-programs unit bench bench-detect check-vm clean format format-check
all: $(B)/smtpfence $(B)/smtpfenced

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/lib/*.h maps/*.h)
	@mkdir -p $(@D)
	$(CLANG) $(BPFFLAGS) -c $< -o $@

$(B)/bpf/%.skel.h: $(B)/bpf/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@

$(B)/%.o: %.c | $(SKELS)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) -MMD -c $< -o $@

$(B)/user/egress.o $(B)/user/egress_load.o $(B)/user/gateway_load.o $(B)/user/loader.o: $(SKELS)

$(B)/libsmtpfence.a: $(USER_O)
	rm -f $@ && $(AR) rcsD $@ $^

$(B)/smtpfence: $(CLI_O) $(B)/libsmtpfence.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) $(shell pkg-config --libs smartcols json-c) -o $@

$(B)/smtpfenced: $(DAEMON_O) $(B)/libsmtpfence.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) $(shell pkg-config --libs libsystemd json-c) -o $@

# Tests ---------------------------------------------------------------------------------------

$(B)/tests/unit_%: tests/unit/test_%.c $(B)/libsmtpfence.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(STRICT) $(CFLAGS) -MMD $(LDFLAGS) $< $(B)/libsmtpfence.a $(LDLIBS) \
		$(shell pkg-config --libs cmocka json-c libsystemd) -o $@

$(B)/tests/unit_text: LDFLAGS += -Wl,--wrap=realloc

$(B)/tests/client: tests/net/client.c $(wildcard tests/net/client_*.h)
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(STRICT) $(CFLAGS) $< -pthread -o $@

$(B)/tests/flood: tests/net/flood.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(STRICT) -O2 $(CFLAGS) $< -pthread -o $@

$(B)/tests/bench-connect: tests/bench/connect.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(STRICT) -O2 $(CFLAGS) $< -pthread -o $@

$(B)/tests/%.bpf.o: tests/net/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(BPFFLAGS) -c $< -o $@

test-programs: all $(UNITS) $(B)/tests/client $(B)/tests/flood $(B)/tests/other.bpf.o $(B)/tests/other_tc.bpf.o

check: test-programs
	$(PYTHON) tests/run.py $(TESTS)

unit: $(UNITS)
	@for t in $(abspath $(UNITS)); do $$t || exit 1; done

bench: all $(B)/tests/bench-connect
	$(PYTHON) tests/bench/bench.py $(BENCH)

# Detection against the rules of others, on labelled traces.
bench-detect: all
	$(PYTHON) tests/detect/bench_detect.py $(BENCH_DETECT)

# Other kernels, in virtual machines: make check-vm KERNELS="5.10 6.1"
check-vm: test-programs
	$(PYTHON) tests/vm/run.py $(KERNELS)

clean:
	rm -rf $(B)

FORMATTED = $(shell git ls-files '*.c' '*.h')

format:
	clang-format -i $(FORMATTED)

format-check:
	clang-format --dry-run -Werror $(FORMATTED)

include $(wildcard tests/*/rules.mk)
include packaging/install.mk
-include $(USER_O:.o=.d) $(DAEMON_O:.o=.d) $(CLI_O:.o=.d)
