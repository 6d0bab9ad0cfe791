// SPDX-License-Identifier: GPL-2.0-only
/* An alarm as "SMTPFENCE_X=..." texts, and as words in a line. */
#include "actions_work.h"
#include <stdarg.h>
#include <stdio.h>

/* Texts are escaped already; but whatever they are, none may begin a field of its own. */
void actions_one_line(char *text)
{
	for (char *p = text; *p; p++)
		if (*p == '\n')
			*p = ' ';
}

static void __attribute__((format(printf, 2, 3)))
add(struct actions_fields *f, const char *format, ...)
{
	size_t room = sizeof(f->room) - f->used;
	va_list args;
	char *start;
	int n;

	if (f->count == SF_RUN_VARIABLES || room < 64)
		return;
	va_start(args, format);
	n = vsnprintf(f->room + f->used, room, format, args);
	va_end(args);
	start = f->room + f->used;
	f->text[f->count++] = start;
	f->used += (size_t)n < room ? (size_t)n + 1 : room;
	actions_one_line(start);
}

void actions_describe(const struct sf_alarm *alarm, const struct sf_subject *who, const char *id,
		      struct actions_fields *f)
{
	const struct sf_tally *t = &alarm->tally;

	f->count = f->used = 0;
	add(f, "SMTPFENCE_ID=%s", id);
	add(f, "SMTPFENCE_STATE=%s", alarm->raised ? "raised" : "cleared");
	add(f, "SMTPFENCE_RULE=%s", sf_rule_names[alarm->rule]);
	add(f, "SMTPFENCE_SEVERITY=%s", sf_severity_name(sf_rule_severity(alarm->rule)));
	add(f, "SMTPFENCE_KIND=%s", t->who.kind == SF_WHO_SOURCE ? "source" : "sender");
	add(f, "SMTPFENCE_CLASS=%s", t->class < SF_CLASS_COUNT ? sf_class_names[t->class] : "");
	add(f, "SMTPFENCE_SOURCE=%.1024s", who->source);
	add(f, "SMTPFENCE_USER=%.1024s", who->user);
	if (t->who.kind == SF_WHO_SENDER)
		add(f, "SMTPFENCE_UID=%u", (uint32_t)t->who.key.word[1]);
	else
		add(f, "SMTPFENCE_UID=");
	add(f, "SMTPFENCE_CGROUP=%.1024s", who->cgroup);
	add(f, "SMTPFENCE_WINDOW=%u", t->window);
	add(f, "SMTPFENCE_HOUR=%u", t->hour);
	add(f, "SMTPFENCE_CONNECTIONS=%llu", (unsigned long long)t->fenced);
	add(f, "SMTPFENCE_FAILED=%llu", (unsigned long long)t->refused + t->silent);
	add(f, "SMTPFENCE_DENIED=%llu", (unsigned long long)t->denied);
	add(f, "SMTPFENCE_DISTINCT=%.0f", t->distinct);
	add(f, "SMTPFENCE_VALUE=%.6g", alarm->value);
	add(f, "SMTPFENCE_LIMIT=%.6g", alarm->limit);
	add(f, "SMTPFENCE_EVIDENCE=%.160s", alarm->evidence);
	f->text[f->count] = NULL;
}

/* For the lines: user="web1" uid=1001 cgroup="/...", or source="192.0.2.1". */
void actions_name(const struct sf_alarm *alarm, const struct sf_subject *who, char *out,
		  size_t size)
{
	if (alarm->tally.who.kind == SF_WHO_SOURCE)
		snprintf(out, size, "source=\"%.200s\"", who->source);
	else
		snprintf(out, size, "user=\"%.200s\" uid=%u cgroup=\"%.1024s\"", who->user,
			 (uint32_t)alarm->tally.who.key.word[1], who->cgroup);
}
