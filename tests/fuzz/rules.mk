# SPDX-License-Identifier: GPL-2.0-only
# make fuzz [TARGET=config] [SECONDS=3600]: the fuzzers; included by the Makefile. Needs clang with
# its runtime (libclang-rt-14-dev). The library is built anew, with feedback and sanitizers.

FUZZ_CC     ?= $(CLANG)
FUZZ_CHECKS := -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_FLAGS  := -std=gnu11 -O1 -gline-tables-only -fno-omit-frame-pointer -Wall -Wextra -Wshadow \
	       -Wconversion $(FUZZ_CHECKS)
FUZZ_NAMES  := $(patsubst tests/fuzz/target_%.c,%,$(wildcard tests/fuzz/target_*.c))
FUZZERS     := $(FUZZ_NAMES:%=$(B)/fuzz/%)
FUZZ_LIB_O  := $(patsubst %.c,$(B)/fuzz/%.o,$(wildcard user/*.c user/detect/*.c))
FUZZ_OWN_O  := $(B)/fuzz/tests/fuzz/fuzz.o $(B)/fuzz/tests/fuzz/users.o

# What the linker exchanges for a target's own: the kernel's answers, the host's users.
FUZZ_WRAP        := getpwnam getpwuid getgrnam
FUZZ_WRAP_config := getifaddrs
FUZZ_WRAP_penalty := getifaddrs
FUZZ_NETLINK     := socket send sendto recv recvmsg
FUZZ_WRAP_links  := $(FUZZ_NETLINK)
FUZZ_WRAP_diag   := $(FUZZ_NETLINK)
FUZZ_WRAP_proc   := fopen
FUZZ_WRAP_tables := bpf_obj_get_info_by_fd bpf_map_lookup_elem bpf_map_lookup_batch \
		    bpf_map_get_next_key bpf_map_update_elem bpf_map_update_batch bpf_map_delete_elem
FUZZ_WRAP_census := sf_pin_open bpf_obj_get_info_by_fd bpf_map_lookup_elem bpf_map_lookup_batch

# Distributions keep clang's runtime apart: said at once, not by a linker twenty times.
$(B)/fuzz/runtime:
	@mkdir -p $(@D)
	@echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return n > 9 && *d; }' | \
		$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -x c - -o $@ || { echo "make fuzz:" \
		"$(FUZZ_CC) makes no fuzzers here: install its runtime (Debian: libclang-rt-dev;" \
		"EL: compiler-rt)" >&2; exit 1; }

$(B)/fuzz/%.o: %.c | $(SKELS) $(B)/fuzz/runtime
	@mkdir -p $(@D)
	$(FUZZ_CC) $(CPPFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -c $< -o $@

$(B)/fuzz/libsmtpfence.a: $(FUZZ_LIB_O)
	rm -f $@ && $(AR) rcs $@ $^

.SECONDARY: $(FUZZ_NAMES:%=$(B)/fuzz/tests/fuzz/target_%.o)
# The judge of packets, and what changes them.
FUZZ_PACKET_O := $(patsubst %.c,$(B)/fuzz/%.o,$(wildcard tests/fuzz/packet_*.c))
$(B)/fuzz/packets: $(FUZZ_PACKET_O)
$(B)/fuzz/tests/fuzz/packet_run.o: $(SKELS)

$(FUZZERS): $(B)/fuzz/%: $(B)/fuzz/tests/fuzz/target_%.o $(FUZZ_OWN_O) $(B)/fuzz/libsmtpfence.a
	$(FUZZ_CC) $(FUZZ_CHECKS) -fsanitize=fuzzer $(FUZZ_WRAP:%=-Wl,--wrap=%) \
		$(FUZZ_WRAP_$*:%=-Wl,--wrap=%) $^ $(LDLIBS) $(shell pkg-config --libs json-c) -o $@

TARGET  ?=
.PHONY: fuzz fuzz-targets fuzz-merge fuzz-coverage
fuzz-targets: $(if $(TARGET),$(TARGET:%=$(B)/fuzz/%),$(FUZZERS))
fuzz: fuzz-targets
	$(PYTHON) tests/fuzz/run.py --build $(B)/fuzz --seconds $(or $(SECONDS),60) $(or $(TARGET),$(FUZZ_NAMES))

# What was found goes into the tree: as few inputs as reach all that is reached.
fuzz-merge: fuzz-targets
	$(PYTHON) tests/fuzz/run.py --build $(B)/fuzz --merge $(or $(TARGET),$(FUZZ_NAMES))

# Lines of the product that the committed inputs reach; needs llvm-profdata and llvm-cov.
fuzz-coverage:
	$(MAKE) B=$(B)/cover FUZZ_CHECKS="-fprofile-instr-generate -fcoverage-mapping" fuzz-targets
	$(PYTHON) tests/fuzz/cover.py --build $(B)/cover/fuzz $(or $(TARGET),$(FUZZ_NAMES))

-include $(FUZZ_LIB_O:.o=.d) $(FUZZ_OWN_O:.o=.d) $(FUZZ_PACKET_O:.o=.d) $(FUZZ_NAMES:%=$(B)/fuzz/tests/fuzz/target_%.d)
