// SPDX-License-Identifier: GPL-2.0-only
#include "policy_text.h"
#include "cleanup.h"
#include "config.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

/* libconfuse reads \xNN in double quotes, and would expand ${NAME}: write all but the plain so. */
static void put_quoted(FILE *out, const char *text)
{
	putc_unlocked('"', out);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p >= 0x7f || strchr("\"\\$", *p))
			fprintf(out, "\\x%02x", *p);
		else
			putc_unlocked(*p, out);
	}
	putc_unlocked('"', out);
}

static void put_key(FILE *out, const struct sf_policy *policy, const struct sf_key *key)
{
	char text[4096], *save = NULL;
	const char *divider = "";

	sf_key_get(policy, key, text, sizeof(text));
	fprintf(out, "%s = ", key->name);
	if (!sf_key_is_list(key)) {
		put_quoted(out, text);
	} else {
		putc_unlocked('{', out);
		for (char *word = strtok_r(text, ",", &save); word;
		     word = strtok_r(NULL, ",", &save)) {
			fputs(divider, out);
			put_quoted(out, word);
			divider = ", ";
		}
		putc_unlocked('}', out);
	}
	putc_unlocked('\n', out);
}

/* As they were written: a number that is given to somebody else later must not inherit. */
static void put_users(FILE *out, const char *option, const char *names)
{
	fprintf(out, " %s = {", option);
	for (const char *p = names; *p;) {
		size_t n = strcspn(p, ",");
		char name[SF_NAME_MAX];

		snprintf(name, sizeof(name), "%.*s", (int)n, p);
		fputs(p == names ? "" : ", ", out);
		put_quoted(out, name);
		p += n + (p[n] == ',');
	}
	putc_unlocked('}', out);
}

static void put_entry(FILE *out, const struct sf_entry *entry)
{
	char time[64];

	fprintf(out, "%s ", sf_entry_sections[entry->kind]);
	put_quoted(out, entry->value);
	fputs(" {", out);
	if (entry->user_names)
		put_users(out, sf_entry_list_name(entry->kind), entry->user_names);
	else if (entry->user_count) /* found by detection */
		for (uint32_t i = 0; i < entry->user_count; i++)
			fprintf(out, "%s\"%u\"%s", i ? ", " : " users = {", entry->users[i],
				i + 1 == entry->user_count ? "}" : "");
	for (uint32_t i = 0; i < entry->port_count; i++)
		fprintf(out, "%s%u%s", i ? ", " : " ports = {", entry->ports[i],
			i + 1 == entry->port_count ? "}" : "");
	if (entry->kind >= SF_ENTRY_LIMIT_USER)
		fprintf(out, " warn = %u act = %u", entry->warn, entry->act);
	if (entry->expires) {
		sf_time_format(entry->expires, time, sizeof(time));
		fprintf(out, " expires = \"%s\"", time);
	}
	if (entry->comment[0]) {
		fputs(" comment = ", out);
		put_quoted(out, entry->comment);
	}
	fputs(" }\n", out);
}

static char *write_text(const struct sf_policy *policy, const char *title, int whole, int64_t now)
{
	struct sf_text text;
	FILE *out = sf_text_open(&text);

	if (!out)
		return NULL;
	fprintf(out, "# %s\n", title);
	for (size_t k = 0; k < sf_key_count; k++)
		if (whole || policy->managed_keys & 1ULL << k)
			put_key(out, policy, &sf_keys[k]);
	for (size_t i = 0; i < policy->entry_count; i++) {
		const struct sf_entry *entry = &policy->entries[i];

		if (whole || (entry->managed && (!entry->expires || entry->expires > now)))
			put_entry(out, entry);
	}
	return sf_text_close(out, &text);
}

char *sf_managed_text(const struct sf_policy *policy, int64_t now)
{
	return write_text(policy,
			  "Kept by smtpfence's commands and read after smtpfence.conf; "
			  "edit that one instead.",
			  0, now);
}

char *sf_policy_text(const struct sf_policy *policy)
{
	return write_text(policy, "What smtpfence applied last: its own record, not for editing.",
			  1, 0);
}

int sf_managed_check(const char *config_file, const char *text, int lenient,
		     struct sf_policy *policy, struct sf_error *err)
{
	_cleanup_close_ int fd = memfd_create("managed", MFD_CLOEXEC);
	size_t length = strlen(text);
	char path[64];

	errno = ENOSPC; /* what a short write means */
	if (fd < 0 || write(fd, text, length) != (ssize_t)length)
		return sf_fail(err, -errno, "can't check the change: %s", strerror(errno));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return sf_config_read(config_file, path, lenient, policy, err);
}
