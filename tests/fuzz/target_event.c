// SPDX-License-Identifier: GPL-2.0-only
/*
 * A record of the event ring, of any bytes: explained, written as a line of events.jsonl, and shown
 * by `smtpfence events`. Nothing in it may act on a terminal, end a line or leave its quotes.
 */
#include "fuzz.h"
#include "../../maps/abi.h"
#include "../../user/record.h"
#include "../../user/escape.h"
#include <errno.h>
#include <stddef.h>
#include <json-c/json.h>

static void check_text(const char *text)
{
	PROPERTY(fuzz_is_clean_utf8(text));
	/* Between quotes of a syslog line: no quote without its backslash. */
	for (const char *p = text; *p; p++) {
		PROPERTY(*p != '"');
		if (*p == '\\') {
			PROPERTY(p[1] == '"' || p[1] == '\\' || p[1] == 'x');
			p++;
		}
	}
}

static void check_line(const struct sf_explained *e)
{
	char *line = sf_record_line(e);
	struct json_object *o, *member;

	PROPERTY(line && fuzz_is_clean_utf8(line) && fuzz_is_json(line));
	o = json_tokener_parse(line);
	PROPERTY(json_object_object_get_ex(o, "dport", &member));
	PROPERTY(json_object_get_int(member) == e->dport);
	PROPERTY(json_object_object_get_ex(o, "comm", &member));
	PROPERTY(fuzz_is_clean_utf8(json_object_get_string(member)));
	json_object_put(o);
	free(line);
}

/* A trail: its own word on how much is used, then names that may be fewer or more. */
static void take_trail(struct fuzz_part *rest, struct sf_trail *trail)
{
	size_t n;

	trail->used = (uint16_t)fuzz_take(rest, 2);
	trail->cut = (uint8_t)fuzz_take(rest, 1);
	n = (size_t)fuzz_take(rest, 1) * 3;
	for (size_t i = 0; i < n && rest->size; i++)
		trail->names[i] = (char)fuzz_take(rest, 1);
}

/* A record of the right size and version from few bytes. */
static struct sf_event *make_event(struct fuzz_part rest)
{
	struct sf_event *event = calloc(1, sizeof(*event));
	size_t head = offsetof(struct sf_event, exe);

	if (!event)
		abort();
	head = rest.size < head ? rest.size : head;
	memcpy(event, rest.data, head);
	rest.data += head;
	rest.size -= head;
	take_trail(&rest, &event->exe);
	take_trail(&rest, &event->cwd);
	take_trail(&rest, &event->cgroup);
	memcpy(event->cmdline, rest.data,
	       rest.size < sizeof(event->cmdline) ? rest.size : sizeof(event->cmdline));
	event->abi = SF_ABI_VERSION;
	event->size = sizeof(*event);
	if (event->pid) /* no look at processes of this machine */
		event->pid = 0x7ffffffe;
	return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_part rest = {data, size};
	struct sf_event *event;
	struct sf_explained e;
	int ret;

	if (fuzz_take(&rest, 1) % 8) {
		event = make_event(rest);
		rest.size = sizeof(*event);
	} else { /* as it comes, of any size */
		event = malloc(rest.size ? rest.size : 1);
		if (!event)
			abort();
		memcpy(event, rest.data, rest.size);
	}
	ret = sf_explain(event, rest.size, NULL, &e);
	free(event);
	PROPERTY(!ret || ret == -EPROTO);
	if (ret)
		return 0;
	PROPERTY(e.verdict < SF_VERDICT_COUNT && e.reason < SF_REASON_COUNT);
	PROPERTY(e.time_us > -1000000 && e.time_us < 1000000);
	check_text(e.user);
	check_text(e.comm);
	check_text(e.exe);
	check_text(e.cwd);
	check_text(e.cgroup);
	check_text(e.cmdline);
	check_text(e.unit);
	check_text(e.container);
	check_text(e.daddr);
	check_line(&e);
	return 0;
}
