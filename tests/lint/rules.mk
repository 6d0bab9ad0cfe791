# SPDX-License-Identifier: GPL-2.0-only
# Static analysis, and two builds that must be the same; included by the Makefile.

# All of it, or LINT="clang-tidy user/fence.c": these tools, these files. (Make itself has a LINT: not ?=.)
.PHONY: lint check-reproducible
LINT :=
lint: export LINT_CPPFLAGS = $(CPPFLAGS)
lint: export LINT_BPFFLAGS = $(BPFFLAGS)
lint: $(SKELS)
	$(PYTHON) tests/lint/lint.py $(LINT)

check-reproducible:
	$(PYTHON) tests/lint/reproduce.py
