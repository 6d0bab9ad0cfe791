// SPDX-License-Identifier: GPL-2.0-only
/* The log sink against a real socket: form of the lines, order, a log daemon that goes and comes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/syslog.h"

static char path[108];
static int server = -1;
static struct sf_syslog sink;
static char received[65536];

static void serve(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	unlink(path);
	memcpy(at.sun_path, path, sizeof(path));
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(server >= 0);
	assert_int_equal(bind(server, (struct sockaddr *)&at, sizeof(at)), 0);
}

static void go_away(void)
{
	close(server);
	server = -1;
	unlink(path);
}

static int start(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/log", tree_root);
	sf_syslog_init(&sink, path, "smtpfenced");
	return 0;
}

static int end(void **state)
{
	(void)state;
	sf_syslog_close(&sink);
	if (server >= 0)
		go_away();
	return 0;
}

/* The next line's text behind "ident[pid]: ", or NULL where none waits. */
static const char *next_line(void)
{
	ssize_t n = recv(server, received, sizeof(received) - 1, 0);
	char *text;

	if (n < 0)
		return NULL;
	received[n] = '\0';
	text = strstr(received, "]: ");
	assert_non_null(text);
	return text + 3;
}

static void next_is(const char *text)
{
	const char *line = next_line();

	assert_non_null(line);
	assert_string_equal(line, text);
}

static void number(int n)
{
	char text[32];

	snprintf(text, sizeof(text), "line %d", n);
	sf_syslog_line(&sink, LOG_NOTICE, text);
}

static void number_is(int n)
{
	char text[32];

	snprintf(text, sizeof(text), "line %d", n);
	next_is(text);
}

static void form(void **state)
{
	char month[4], *large;
	int priority, day, hour, minute, second, pid, at = 0;

	(void)state;
	serve();
	sf_syslog_line(&sink, LOG_WARNING, "ALERT id=1 %n%s text=\"a\"");
	next_is("ALERT id=1 %n%s text=\"a\"");
	/* RFC 3164: <facility * 8 + severity>Mmm dd hh:mm:ss tag[pid]: */
	assert_int_equal(sscanf(received, "<%d>%3s %d %d:%d:%d smtpfenced[%d]: %n", &priority,
				month, &day, &hour, &minute, &second, &pid, &at),
			 7);
	assert_true(at > 0);
	assert_int_equal(priority, LOG_MAIL | LOG_WARNING);
	assert_int_equal(pid, getpid());
	assert_int_equal(strchr(received, '>')[5], day < 10 ? ' ' : '0' + day / 10);
	assert_non_null(strstr("JanFebMarAprMayJunJulAugSepOctNovDec", month));
	sf_syslog_line(&sink, LOG_INFO, "");
	next_is("");
	assert_int_equal(strtol(received + 1, NULL, 10), LOG_MAIL | LOG_INFO);
	large = malloc(8193);
	assert_non_null(large);
	memset(large, 'x', 8192);
	large[8192] = '\0';
	sf_syslog_line(&sink, LOG_INFO, large);
	next_is(large);
	free(large);
	assert_null(next_line());
}

static void away_and_back(void **state)
{
	(void)state;
	for (int n = 0; n < 5; n++) /* not there yet */
		number(n);
	assert_int_equal(sf_syslog_flush(&sink), 5);
	serve();
	number(5);
	for (int n = 0; n < 6; n++)
		number_is(n);
	/* Restarted between two lines: the new socket gets the next. */
	go_away();
	serve();
	number(6);
	number_is(6);
	/* Gone without its socket file being removed. */
	close(server);
	number(7);
	assert_int_equal(sf_syslog_flush(&sink), 1);
	serve();
	assert_int_equal(sf_syslog_flush(&sink), 0);
	number_is(7);
	assert_null(next_line());
	assert_int_equal(sink.lost, 0);
}

static void bounded_while_away(void **state)
{
	(void)state;
	for (int n = 0; n < SF_SYSLOG_WAITING + 100; n++)
		number(n);
	assert_int_equal(sink.waiting_count, SF_SYSLOG_WAITING);
	assert_int_equal(sink.lost, 100);
	serve();
	/* Its queue may be shorter than ours: read between. */
	for (int n = 0; n < SF_SYSLOG_WAITING; n++) {
		sf_syslog_flush(&sink);
		number_is(n);
	}
	sf_syslog_flush(&sink);
	next_is("NOTICE rule=log_lost severity=warning count=100");
	number(1000);
	number_is(1000);
	assert_null(next_line()); /* told once */
	assert_int_equal(sink.lost, 0);
}

/* There, but it does not read: the caller is not held up, and what comes later is behind. */
static void slow_reader(void **state)
{
	int total = 3000, next = 0, seen = 0;
	unsigned long long lost = 0;
	const char *line;

	(void)state;
	serve();
	for (int n = 0; n < total; n++)
		number(n);
	assert_int_equal(sink.waiting_count, SF_SYSLOG_WAITING);
	assert_true(sink.lost > 0);
	while ((line = next_line()) || sink.waiting_count || sink.lost) {
		if (!line) {
			sf_syslog_flush(&sink);
			continue;
		}
		if (sscanf(line, "NOTICE rule=log_lost severity=warning count=%llu", &lost) == 1) {
			seen++;
			continue;
		}
		assert_int_equal(strtol(line + 5, NULL, 10), next);
		next++;
	}
	while ((line = next_line())) {
		assert_int_equal(
			sscanf(line, "NOTICE rule=log_lost severity=warning count=%llu", &lost), 1);
		seen++;
	}
	assert_int_equal(seen, 1);
	assert_int_equal(next + (int)lost, total);
}

static void odd_places(void **state)
{
	struct sf_syslog other;
	char longest[300];

	(void)state;
	memset(longest, 'a', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	sf_syslog_init(&other, longest, longest);
	sf_syslog_line(&other, LOG_INFO, "x");
	assert_int_equal(other.waiting_count, 1);
	sf_syslog_close(&other);
	sf_syslog_close(&other);
	/* A file, a directory, a stream socket. */
	sf_syslog_init(&other, tree_root, "x");
	sf_syslog_line(&other, LOG_INFO, "x");
	assert_int_equal(other.waiting_count, 1);
	sf_syslog_close(&other);
	serve();
	close(server);
	unlink(path);
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	{
		struct sockaddr_un at = {.sun_family = AF_UNIX};

		memcpy(at.sun_path, path, sizeof(path));
		assert_int_equal(bind(server, (struct sockaddr *)&at, sizeof(at)), 0);
	}
	assert_int_equal(listen(server, 1), 0);
	sf_syslog_init(&other, path, "x");
	sf_syslog_line(&other, LOG_INFO, "x");
	assert_int_equal(other.waiting_count, 1);
	sf_syslog_close(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(form, start, end),
		cmocka_unit_test_setup_teardown(away_and_back, start, end),
		cmocka_unit_test_setup_teardown(bounded_while_away, start, end),
		cmocka_unit_test_setup_teardown(slow_reader, start, end),
		cmocka_unit_test_setup_teardown(odd_places, start, end),
	};

	return cmocka_run_group_tests(tests, tree_setup, tree_teardown);
}
