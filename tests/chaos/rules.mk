# SPDX-License-Identifier: GPL-2.0-only
# make chaos [SECONDS=240] [SEED=N]; included by the Makefile.

.PHONY: chaos
CHAOS_PROGRAMS := $(B)/tests/chaos-sender $(B)/tests/chaos-faults.so

$(B)/tests/chaos-sender: tests/chaos/sender.c tests/chaos/packets.h $(wildcard tests/net/client_*.h)
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(STRICT) $(CFLAGS) -isystem tests/net $< -pthread -o $@

$(B)/tests/chaos-faults.so: tests/chaos/faults.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(filter-out $(SANITIZE),$(STRICT)) $(CFLAGS) -shared -fPIC $< -ldl -o $@

chaos: all $(B)/tests/client $(CHAOS_PROGRAMS)
	SMTPFENCE_BUILD=$(abspath $(B)) $(PYTHON) tests/chaos/chaos.py $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SEED),--seed $(SEED)) $(CHAOS)
