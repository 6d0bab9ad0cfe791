# SPDX-License-Identifier: GPL-2.0-only
# install, uninstall, on, off, deps. Included by the Makefile, which sets B, PREFIX and DESTDIR.

SBINDIR    ?= $(PREFIX)/sbin
MANDIR     ?= $(PREFIX)/share/man
COMPDIR    ?= $(PREFIX)/share/bash-completion/completions
# systemd looks below /usr and /usr/local only.
UNITDIR    ?= $(if $(filter /usr /usr/local,$(PREFIX)),$(PREFIX),/usr/local)/lib/systemd/system
# Where the program looks for it: not movable by PREFIX.
CONFDIR    := /etc/smtpfence
# `make on CONFIG=FILE`: try it with another configuration, no unit is touched then.
CONFIG     ?=
INSTALL    ?= install

MAN8       := smtpfence.8 smtpfenced.8
MAN5       := smtpfence.conf.5
SYSTEMD    := smtpfence.service smtpfenced.service

# Where the fence is pinned; a configuration that can't be read does not hide it.
PIN_DIR = dir=$$($(SBINDIR)/smtpfence $(CONFIG:%=--config %) get pin_dir 2>/dev/null) || \
	dir=/sys/fs/bpf/smtpfence

.PHONY: deps install uninstall on off

deps:
	sh packaging/packages.sh build test

install: all
	$(INSTALL) -d -m 755 $(DESTDIR)$(SBINDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(MANDIR)/man8 \
		$(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(COMPDIR) $(DESTDIR)$(CONFDIR)
	@# install(1) unlinks before it writes, so a daemon that runs is not in the way.
	$(INSTALL) -m 755 $(B)/smtpfence $(B)/smtpfenced $(DESTDIR)$(SBINDIR)
	$(INSTALL) -m 644 $(MAN8:%=docs/%) $(DESTDIR)$(MANDIR)/man8
	$(INSTALL) -m 644 $(MAN5:%=docs/%) $(DESTDIR)$(MANDIR)/man5
	$(INSTALL) -m 644 packaging/smtpfence.bash-completion $(DESTDIR)$(COMPDIR)/smtpfence
	for unit in $(SYSTEMD); do \
		sed 's|@SBINDIR@|$(SBINDIR)|g' packaging/$$unit >$(B)/$$unit && \
		$(INSTALL) -m 644 $(B)/$$unit $(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	done
	@if test -e $(DESTDIR)$(CONFDIR)/smtpfence.conf; then \
		echo "$(DESTDIR)$(CONFDIR)/smtpfence.conf is yours and stays as it is"; \
	else \
		$(INSTALL) -m 644 packaging/smtpfence.conf $(DESTDIR)$(CONFDIR)/smtpfence.conf; \
	fi
	@if test -z '$(DESTDIR)' && test -d /run/systemd/system; then systemctl daemon-reload; fi
	@$(PIN_DIR); if test -z '$(DESTDIR)' && test -d "$$dir/links"; then \
		echo "installed; the fence that is on goes on with the programs of the version before until:" \
		"$(SBINDIR)/smtpfence $(CONFIG:%=--config %) on (or monitor)," \
		"and systemctl restart smtpfenced"; \
	else \
		echo "installed; by itself that fences nothing: $(SBINDIR)/smtpfence monitor, or on, does"; \
	fi

# The tool that can turn the fence off must not go while it is on.
uninstall:
	@$(PIN_DIR); if test -z '$(DESTDIR)' && test -x $(SBINDIR)/smtpfence && test -d "$$dir/links"; then \
		echo "the fence is still attached: make off $(CONFIG:%=CONFIG=%) first" >&2; exit 1; \
	fi
	@if test -z '$(DESTDIR)' && test -d /run/systemd/system; then \
		systemctl disable --now $(SYSTEMD) 2>/dev/null || true; \
	fi
	rm -f $(DESTDIR)$(SBINDIR)/smtpfence $(DESTDIR)$(SBINDIR)/smtpfenced \
		$(MAN8:%=$(DESTDIR)$(MANDIR)/man8/%) $(MAN5:%=$(DESTDIR)$(MANDIR)/man5/%) \
		$(DESTDIR)$(COMPDIR)/smtpfence $(SYSTEMD:%=$(DESTDIR)$(UNITDIR)/%)
	@if test -z '$(DESTDIR)' && test -d /run/systemd/system; then systemctl daemon-reload; fi
	@rmdir $(DESTDIR)$(CONFDIR) 2>/dev/null || true
	@if test -d $(DESTDIR)$(CONFDIR); then \
		echo "kept, because they are yours: $(DESTDIR)$(CONFDIR) (configuration) and" \
		"$(DESTDIR)/var/lib/smtpfence (events, state)."; \
		echo "Without them: rm -r $(DESTDIR)$(CONFDIR) $(DESTDIR)/var/lib/smtpfence"; \
	fi

# Each step is a make of its own: what the first one installs, the next must look for anew.
on:
	sh packaging/packages.sh build
	$(MAKE) all
	$(MAKE) install
	sh packaging/on.sh '$(SBINDIR)' '$(CONFIG)'

off:
	sh packaging/off.sh '$(SBINDIR)' '$(CONFIG)'
