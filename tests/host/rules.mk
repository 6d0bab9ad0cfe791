# SPDX-License-Identifier: GPL-2.0-only
# A whole host in a virtual machine; included by the Makefile. HOST: options and patterns of run.py.

HOST ?=

.PHONY: check-host
check-host: all
	SMTPFENCE_BUILD=$(abspath $(B)) $(PYTHON) tests/host/run.py $(HOST)
