// SPDX-License-Identifier: GPL-2.0-only
/*
 * A report as text of 80 columns that can be pasted into a mail: nothing but printable characters,
 * lines that a mail program won't take for its own. The texts that HTML shows too are made here.
 */
#include "report.h"
#include "cleanup.h"
#include "escape.h"
#include "plot.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#define HOUR	 3600
#define DAY	 86400
#define ROWS_MAX 96 /* hours in a table; of more, days */

/* The character at `p`: its bytes, and its columns by the locale (one where that can't say). */
static size_t character(const char *p, int *columns)
{
	mbstate_t state;
	wchar_t wide;
	size_t n;

	memset(&state, 0, sizeof(state));
	n = mbrtowc(&wide, p, MB_CUR_MAX, &state);
	if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
		for (n = 1; ((unsigned char)p[n] & 0xc0) == 0x80; n++)
			;
		*columns = 1;
		return n;
	}
	*columns = wcwidth(wide);
	if (*columns < 0)
		*columns = 1;
	return n;
}

/* How many bytes of `text` go into `room` columns: up to a space, if one is not too far back. */
static size_t piece(const char *text, int room)
{
	size_t n = 0, space = 0;
	int used = 0, columns, at_space = 0;

	while (text[n]) {
		size_t bytes = character(text + n, &columns);

		if (used + columns > room)
			break;
		if (text[n] == ' ') {
			space = n;
			at_space = used;
		}
		used += columns;
		n += bytes;
	}
	if (!text[n] || text[n] == ' ')
		return n;
	if (at_space < room / 2)
		return n ? n : character(text, &columns);
	return space;
}

void sf_report_wrap(FILE *out, const char *label, int indent, const char *text)
{
	size_t room = strlen(text) * 4 + 1;
	_cleanup_free_ char *safe = malloc(room);
	const char *rest = safe;
	int begin = (int)strlen(label);

	if (!safe)
		return;
	sf_escape_controls(text, safe, room);
	fprintf(out, "%s", label);
	do {
		size_t n = piece(rest, SF_REPORT_WIDTH - begin), shown = n;

		while (shown && rest[shown - 1] == ' ')
			shown--;
		fprintf(out, "%.*s\n", (int)shown, rest);
		rest += n;
		rest += strspn(rest, " ");
		begin = indent;
		if (*rest)
			fprintf(out, "%*s", indent, "");
	} while (*rest);
}

void sf_report_time(int64_t seconds, int to_the_second, char *out, size_t size)
{
	time_t t = (time_t)seconds;
	struct tm tm;

	if (!seconds || !gmtime_r(&t, &tm) ||
	    !strftime(out, size, to_the_second ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%d %H:%M", &tm))
		snprintf(out, size, "-");
}

void sf_report_name(const struct sf_report *report, char *out, size_t size)
{
	if (report->user[0])
		snprintf(out, size, "user %s in %s", report->user, report->cgroup);
	else
		snprintf(out, size, "address %s", report->who);
}

void sf_report_alarm(const struct sf_history_alarm *alarm, char *out, size_t size)
{
	char raised[64], cleared[64] = "now";

	sf_report_time(alarm->raised, 1, raised, sizeof(raised));
	if (alarm->cleared)
		sf_report_time(alarm->cleared, 1, cleared, sizeof(cleared));
	snprintf(out, size, "%s to %s: %s %s", raised, cleared, alarm->severity, alarm->rule);
}

void sf_report_fence(const struct sf_report *r, char *out, size_t size)
{
	const struct sf_hour *t = &r->total;
	size_t used = 0;

#define SAY(...)                                                                                   \
	do {                                                                                       \
		int n_ = snprintf(out + used, size - used, __VA_ARGS__);                           \
		used += n_ < 0 ? 0 : (size_t)n_;                                                   \
		used = used < size ? used : size - 1;                                              \
	} while (0)
	out[0] = '\0';
	if (t->denied)
		SAY("It denied %llu connections: no packet of these left this host.\n",
		    (unsigned long long)t->denied);
	if (t->would_deny)
		SAY("It let %llu connections go that it would have denied: it only watched "
		    "(monitor) then.\n",
		    (unsigned long long)t->would_deny);
	if (!t->denied && !t->would_deny)
		SAY("It denied nothing of this sender in this time.\n");
	SAY("Its mode is \"%s\" now.\n", sf_mode_name(r->mode));
	if (r->quarantine[0])
		SAY("In force now: %s.", r->quarantine);
	else
		SAY("The sender is not in quarantine now.");
#undef SAY
}

static void heading(FILE *out, const char *text)
{
	fprintf(out, "\n%s\n", text);
	for (size_t i = strlen(text); i; i--)
		putc('-', out);
	putc('\n', out);
}

static void number(FILE *out, const char *label, uint64_t value)
{
	fprintf(out, "%-54s %20llu\n", label, (unsigned long long)value);
}

static void when(FILE *out, const char *label, int64_t seconds)
{
	char text[64];

	sf_report_time(seconds, 0, text, sizeof(text));
	fprintf(out, "%-54s %20s\n", label, text);
}

static void totals(const struct sf_report *r, FILE *out)
{
	const struct sf_hour *t = &r->total;

	heading(out, "What happened");
	number(out, "Connections begun to SMTP ports, sent", t->fenced);
	number(out, "Connections that the fence denied, not sent", t->denied);
	number(out, "Sent, though they would have been denied", t->would_deny);
	number(out, "Connections begun, all ports", t->syn);
	number(out, "  answered", t->answered);
	number(out, "  refused", t->refused);
	number(out, "  without an answer", t->silent);
	number(out, "First packets sent again", t->retransmitted);
	number(out, "Different destinations, at most in an hour (estimate)", t->distinct);
	number(out, "Sent and denied in the busiest hour", r->busiest);
	when(out, "The busiest hour, from (UTC)", t->hour);
	when(out, "First seen, in the hour from (UTC)", r->first_seen);
	when(out, "Last seen, in the hour from (UTC)", r->last_seen);
}

static void table(const struct sf_report *r, FILE *out)
{
	_cleanup_free_ struct sf_report_row *rows = NULL;
	int64_t length = r->hour_count > ROWS_MAX ? DAY : HOUR;
	uint64_t most = 0;
	size_t count = 0;

	if (sf_report_rows(r, length, &rows, &count))
		return;
	heading(out, length == HOUR ? "Hour by hour" : "Day by day");
	if (!count)
		fputs("Nothing in this time.\n", out);
	else
		fprintf(out, "%-16s %8s %8s %8s %8s  #: sent, x: denied\n",
			length == HOUR ? "Hour (UTC)" : "Day (UTC)", "Sent", "Denied", "Failed",
			"Distinct");
	for (size_t i = 0; i < count; i++)
		if (rows[i].sum.fenced + rows[i].sum.denied > most)
			most = rows[i].sum.fenced + rows[i].sum.denied;
	for (size_t i = 0; i < count; i++) {
		const struct sf_hour *h = &rows[i].sum;
		char time[64], sent[24], denied[24], failed[24], distinct[24], bar[32];

		sf_report_time(h->hour, 0, time, sizeof(time));
		sf_plot_number(h->fenced, sent, sizeof(sent));
		sf_plot_number(h->denied, denied, sizeof(denied));
		sf_plot_number(h->refused + h->silent, failed, sizeof(failed));
		sf_plot_number(h->distinct, distinct, sizeof(distinct));
		sf_plot_bar(h->fenced, h->denied, most, 26, bar, sizeof(bar));
		fprintf(out, "%-16.*s %8s %8s %8s %8s%s%s\n", length == HOUR ? 16 : 10, time, sent,
			denied, failed, distinct, bar[0] ? "  " : "", bar);
	}
	if (r->hours_left_out)
		fprintf(out, "%llu older hours are left out here; the sums have them.\n",
			(unsigned long long)r->hours_left_out);
}

static void alarms(const struct sf_report *r, FILE *out)
{
	char text[256];

	heading(out, "Alarms");
	if (!r->alarm_count)
		fputs("None.\n", out);
	if (r->alarms_in_all > r->alarm_count)
		fprintf(out, "The last %zu of %llu:\n", r->alarm_count,
			(unsigned long long)r->alarms_in_all);
	for (size_t i = 0; i < r->alarm_count; i++) {
		sf_report_alarm(&r->alarms[i], text, sizeof(text));
		sf_report_wrap(out, "", 4, text);
		if (r->alarms[i].text[0])
			sf_report_wrap(out, "    ", 4, r->alarms[i].text);
	}
}

static void detail(FILE *out, const char *label, const char *text)
{
	if (text[0])
		sf_report_wrap(out, label, (int)strlen(label), text);
}

static void events(const struct sf_report *r, FILE *out)
{
	const struct sf_report_event *e;
	char text[512];

	heading(out, "Recorded connections that were (or would have been) denied");
	if (!r->user[0])
		fputs("Not known by address: events name users of this host.\n", out);
	else if (!r->events_in_all)
		fputs("None recorded in this time.\n", out);
	else if (r->events_in_all > SF_REPORT_EVENTS)
		fprintf(out, "The last %d of %llu:\n", SF_REPORT_EVENTS,
			(unsigned long long)r->events_in_all);
	for (size_t i = 0; (e = sf_report_event_at(r, i)); i++) {
		snprintf(text, sizeof(text), "%s %s (%s) to %s port %lld", e->time, e->verdict,
			 e->reason, e->daddr, (long long)e->dport);
		sf_report_wrap(out, "", 4, text);
		detail(out, "    program    ", e->exe);
		detail(out, "    directory  ", e->cwd);
		detail(out, "    command    ", e->cmdline);
		if (strcmp(e->cgroup, r->cgroup))
			detail(out, "    cgroup     ", e->cgroup);
	}
}

void sf_report_text(const struct sf_report *r, FILE *out)
{
	char name[2 * SF_HISTORY_WHO_MAX + 32], from[64], to[64], made[64], text[2048];

	sf_report_name(r, name, sizeof(name));
	sf_report_time(r->from, 0, from, sizeof(from));
	sf_report_time(r->to, 0, to, sizeof(to));
	sf_report_time(r->made, 0, made, sizeof(made));
	fputs("SMTP abuse report\n=================\n", out);
	sf_report_wrap(out, "Who      ", 9, name);
	sf_report_wrap(out, "Host     ", 9, r->host);
	snprintf(text, sizeof(text), "%s to %s UTC", from, to);
	sf_report_wrap(out, "When     ", 9, text);
	fprintf(out, "Made     %s UTC by smtpfence\n", made);
	totals(r, out);
	table(r, out);
	alarms(r, out);
	events(r, out);
	heading(out, "What the fence did");
	sf_report_fence(r, text, sizeof(text));
	for (char *line = text, *end; line && *line; line = end) {
		end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		sf_report_wrap(out, "", 4, line);
	}
}
