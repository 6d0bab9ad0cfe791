// SPDX-License-Identifier: GPL-2.0-only
/*
 * A report as one HTML file: its plot inside, no scripts, nothing fetched from anywhere, fit for
 * paper. Every text that was not written here goes through put().
 */
#include "report.h"
#include "cleanup.h"
#include "escape.h"
#include "plot.h"
#include <stdlib.h>
#include <string.h>

#define HOUR	  3600
#define STEPS_MAX 240 /* bars in the plot */

/* Harmless to a reader first (controls, direction, invalid UTF-8), then to HTML, in attributes too.
 */
static void put(FILE *out, const char *text)
{
	size_t room = strlen(text) * 4 + 1;
	_cleanup_free_ char *safe = malloc(room);

	if (!safe)
		return;
	sf_escape_controls(text, safe, room);
	for (const char *p = safe; *p; p++) {
		switch (*p) {
		case '&':
			fputs("&amp;", out);
			break;
		case '<':
			fputs("&lt;", out);
			break;
		case '>':
			fputs("&gt;", out);
			break;
		case '"':
			fputs("&quot;", out);
			break;
		case '\'':
			fputs("&#39;", out);
			break;
		default:
			putc(*p, out);
		}
	}
}

static void row(FILE *out, const char *label, const char *text)
{
	fprintf(out, "<tr><th scope=\"row\">%s</th><td>", label);
	put(out, text);
	fputs("</td></tr>\n", out);
}

static void number(FILE *out, const char *label, uint64_t value)
{
	fprintf(out, "<tr><th scope=\"row\">%s</th><td class=\"n\">%llu</td></tr>\n", label,
		(unsigned long long)value);
}

/* The style works without colours and on paper; the policy forbids all that could be fetched. */
static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
	"<meta http-equiv=\"Content-Security-Policy\" "
	"content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n"
	"<meta name=\"viewport\" content=\"width=device-width\"/>\n"
	"<title>SMTP abuse report</title>\n<style>\n"
	"body { font-family: sans-serif; color: #000; background: #fff; max-width: 60em; "
	"margin: 1em auto; padding: 0 1em; }\n"
	"table { border-collapse: collapse; margin: 0.5em 0; }\n"
	"th, td { text-align: left; vertical-align: top; padding: 0.15em 0.8em 0.15em 0; "
	"border-bottom: 1px solid #bbb; overflow-wrap: anywhere; }\n"
	".n { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: normal; }\n"
	"code { font-family: monospace; overflow-wrap: anywhere; }\n"
	"svg { width: 100%; height: auto; }\n"
	"@media print { body { margin: 0; max-width: none; font-size: 10pt; } "
	"tr, svg { break-inside: avoid; } thead { display: table-header-group; } }\n"
	"</style>\n</head>\n<body>\n<h1>SMTP abuse report</h1>\n";

static void summary(const struct sf_report *r, FILE *out)
{
	char text[2 * SF_HISTORY_WHO_MAX + 32], from[64], to[64];

	sf_report_name(r, text, sizeof(text));
	fputs("<table>\n", out);
	row(out, "Who", text);
	row(out, "Host", r->host);
	sf_report_time(r->from, 0, from, sizeof(from));
	sf_report_time(r->to, 0, to, sizeof(to));
	snprintf(text, sizeof(text), "%s to %s UTC", from, to);
	row(out, "When", text);
	sf_report_time(r->made, 0, from, sizeof(from));
	snprintf(text, sizeof(text), "%s UTC by smtpfence", from);
	row(out, "Made", text);
	fputs("</table>\n", out);
}

static void totals(const struct sf_report *r, FILE *out)
{
	const struct sf_hour *t = &r->total;
	char text[64];

	fputs("<h2>What happened</h2>\n<table>\n", out);
	number(out, "Connections begun to SMTP ports, sent", t->fenced);
	number(out, "Connections that the fence denied, not sent", t->denied);
	number(out, "Sent, though they would have been denied", t->would_deny);
	number(out, "Connections begun, all ports", t->syn);
	number(out, "&#8212; answered", t->answered);
	number(out, "&#8212; refused", t->refused);
	number(out, "&#8212; without an answer", t->silent);
	number(out, "First packets sent again", t->retransmitted);
	number(out, "Different destinations, at most in an hour (estimate)", t->distinct);
	number(out, "Sent and denied in the busiest hour", r->busiest);
	sf_report_time(t->hour, 0, text, sizeof(text));
	row(out, "The busiest hour, from (UTC)", text);
	sf_report_time(r->first_seen, 0, text, sizeof(text));
	row(out, "First seen, in the hour from (UTC)", text);
	sf_report_time(r->last_seen, 0, text, sizeof(text));
	row(out, "Last seen, in the hour from (UTC)", text);
	fputs("</table>\n", out);
}

/* From the first hour with anything in it: years of nothing show nothing. */
static void plot(const struct sf_report *r, FILE *out)
{
	struct sf_plot_step steps[STEPS_MAX + 1] = {{0}};
	int64_t begin, length;
	size_t count;

	fputs("<h2>Over time</h2>\n", out);
	if (!r->hour_count) {
		fputs("<p>Nothing in this time.</p>\n", out);
		return;
	}
	begin = r->hours[0].hour > r->from ? r->hours[0].hour : r->from;
	length = sf_plot_step_length(begin, r->to, STEPS_MAX);
	if ((r->to - begin) / length >= STEPS_MAX) /* decades: the newest */
		begin = r->to - (STEPS_MAX - 1) * length;
	begin -= begin % length;
	count = (size_t)((r->to - 1 - begin) / length) + 1;
	for (size_t i = 0; i < count; i++)
		steps[i].time = begin + (int64_t)i * length;
	for (size_t i = 0; i < r->hour_count; i++) {
		const struct sf_hour *hour = &r->hours[i];
		size_t at;

		if (hour->hour < begin)
			continue;
		at = (size_t)((hour->hour - begin) / length);
		steps[at].sent += hour->fenced;
		steps[at].denied += hour->denied;
	}
	sf_plot_svg(out, steps, count, length);
	fprintf(out,
		"<p>SMTP connections each %lld h, UTC. Solid: sent. Hatched, on top: denied, not "
		"sent.</p>\n",
		(long long)(length / HOUR));
}

static void hours(const struct sf_report *r, FILE *out)
{
	_cleanup_free_ struct sf_report_row *rows = NULL;
	size_t count = 0;

	if (sf_report_rows(r, HOUR, &rows, &count) || !count)
		return;
	fputs("<h2>Hour by hour</h2>\n<table>\n<thead><tr><th scope=\"col\">Hour (UTC)</th>"
	      "<th scope=\"col\">Sent</th><th scope=\"col\">Denied</th>"
	      "<th scope=\"col\">Would be denied</th><th scope=\"col\">Answered</th>"
	      "<th scope=\"col\">Refused</th><th scope=\"col\">No answer</th>"
	      "<th scope=\"col\">Destinations</th></tr></thead>\n<tbody>\n",
	      out);
	for (size_t i = 0; i < count; i++) {
		const struct sf_hour *h = &rows[i].sum;
		const uint64_t shown[] = {h->fenced,  h->denied, h->would_deny, h->answered,
					  h->refused, h->silent, h->distinct};
		char time[64];

		sf_report_time(h->hour, 0, time, sizeof(time));
		fprintf(out, "<tr><td>%s</td>", time);
		for (size_t k = 0; k < sizeof(shown) / sizeof(shown[0]); k++)
			fprintf(out, "<td class=\"n\">%llu</td>", (unsigned long long)shown[k]);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>\n</table>\n", out);
	if (r->hours_left_out)
		fprintf(out, "<p>%llu older hours are left out here; the sums have them.</p>\n",
			(unsigned long long)r->hours_left_out);
}

static void alarms(const struct sf_report *r, FILE *out)
{
	char text[256];

	fputs("<h2>Alarms</h2>\n", out);
	if (!r->alarm_count) {
		fputs("<p>None.</p>\n", out);
		return;
	}
	if (r->alarms_in_all > r->alarm_count)
		fprintf(out, "<p>The last %zu of %llu:</p>\n", r->alarm_count,
			(unsigned long long)r->alarms_in_all);
	fputs("<table>\n", out);
	for (size_t i = 0; i < r->alarm_count; i++) {
		sf_report_alarm(&r->alarms[i], text, sizeof(text));
		fputs("<tr><td>", out);
		put(out, text);
		fputs("</td><td><code>", out);
		put(out, r->alarms[i].text);
		fputs("</code></td></tr>\n", out);
	}
	fputs("</table>\n", out);
}

static void event(FILE *out, const struct sf_report_event *e)
{
	const char *const texts[] = {e->time, e->verdict, e->reason, e->daddr,
				     e->exe,  e->cwd,	  e->cmdline};

	fputs("<tr>", out);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		fputs(i < 4 ? "<td>" : "<td><code>", out);
		put(out, texts[i]);
		if (i == 3)
			fprintf(out, " port %lld", (long long)e->dport);
		fputs(i < 4 ? "</td>" : "</code></td>", out);
	}
	fputs("</tr>\n", out);
}

static void events(const struct sf_report *r, FILE *out)
{
	const struct sf_report_event *e;

	fputs("<h2>Recorded connections that were (or would have been) denied</h2>\n", out);
	if (!r->user[0]) {
		fputs("<p>Not known by address: events name users of this host.</p>\n", out);
		return;
	}
	if (!r->events_in_all) {
		fputs("<p>None recorded in this time.</p>\n", out);
		return;
	}
	if (r->events_in_all > SF_REPORT_EVENTS)
		fprintf(out, "<p>The last %d of %llu:</p>\n", SF_REPORT_EVENTS,
			(unsigned long long)r->events_in_all);
	fputs("<table>\n<thead><tr><th scope=\"col\">Time</th><th scope=\"col\">Verdict</th>"
	      "<th scope=\"col\">Reason</th><th scope=\"col\">Destination</th>"
	      "<th scope=\"col\">Program</th><th scope=\"col\">Directory</th>"
	      "<th scope=\"col\">Command</th></tr></thead>\n<tbody>\n",
	      out);
	for (size_t i = 0; (e = sf_report_event_at(r, i)); i++)
		event(out, e);
	fputs("</tbody>\n</table>\n", out);
}

void sf_report_html(const struct sf_report *r, FILE *out)
{
	char text[2048], *save = NULL;

	fputs(head, out);
	summary(r, out);
	totals(r, out);
	plot(r, out);
	hours(r, out);
	alarms(r, out);
	events(r, out);
	fputs("<h2>What the fence did</h2>\n", out);
	sf_report_fence(r, text, sizeof(text));
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		fputs("<p>", out);
		put(out, line);
		fputs("</p>\n", out);
	}
	fputs("</body>\n</html>\n", out);
}
