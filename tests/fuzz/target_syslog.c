// SPDX-License-Identifier: GPL-2.0-only
/*
 * A line for syslog, made from text of an attacker as the daemon makes it, received at a socket of
 * our own: one datagram a line, no byte that ends a line or acts on a terminal, what is quoted
 * stays within its quotes. Between lines the log daemon may go away and come back: none is doubled,
 * none is lost unseen.
 */
#include "fuzz.h"
#include "../../user/escape.h"
#include "../../user/syslog.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char path[100];
static int server = -1;

static void start_server(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	if (server >= 0)
		return;
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	unlink(path);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (server < 0 || bind(server, (struct sockaddr *)&at, sizeof(at)))
		abort();
}

static void stop_server(void)
{
	if (server >= 0)
		close(server);
	server = -1;
	unlink(path);
}

/* The daemon's own line of what was lost, which no text of another can be. */
static int is_notice(const char *line)
{
	const char *at = strstr(line, "]: ");

	return at && !strncmp(at + 3, "NOTICE rule=log_lost", 20);
}

static void check_line(const char *line)
{
	const char *at = strstr(line, "]: ");

	PROPERTY(fuzz_is_clean_utf8(line) && line[0] == '<' && at);
	if (is_notice(line))
		return;
	/* One quoted value, whose quote nothing in it closes. */
	at = strchr(at, '"');
	PROPERTY(at);
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\')
			PROPERTY(*++at);
	PROPERTY(!strcmp(at, "\" end=1"));
}

static size_t receive(void)
{
	static char line[8192];
	size_t n = 0;
	ssize_t size;

	while (server >= 0 && (size = recv(server, line, sizeof(line) - 1, 0)) >= 0) {
		line[size] = '\0';
		PROPERTY(strlen(line) == (size_t)size);
		check_line(line);
		n += !is_notice(line);
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_part rest = {data, size};
	size_t made = 0, seen = 0;
	struct sf_syslog log;

	if (!path[0])
		snprintf(path, sizeof(path), "%s/log", fuzz_tree((struct fuzz_part){NULL, 0}));
	start_server();
	sf_syslog_init(&log, path, "smtpfenced");
	while (rest.size && made < 300) {
		uint8_t op = (uint8_t)fuzz_take(&rest, 1);
		char shown[1024], line[1200];
		size_t n = (size_t)fuzz_take(&rest, 1);

		if (op % 8 == 0)
			stop_server();
		if (op % 8 == 1)
			start_server();
		n = n < rest.size ? n : rest.size;
		sf_escape(rest.data, n, shown, (size_t)(op % 4 ? sizeof(shown) : 40));
		rest.data += n;
		rest.size -= n;
		snprintf(line, sizeof(line), "ALERT cgroup=\"%s\" end=1", shown);
		for (int times = op >= 0xf0 ? 40 : 1; times; times--, made++)
			sf_syslog_line(&log, (op >> 3) % 8, line);
		seen += receive();
	}
	start_server();
	for (int i = 0; i < 100 && sf_syslog_flush(&log); i++)
		seen += receive();
	seen += receive();
	PROPERTY(seen <= made);
	PROPERTY(!log.waiting_count && !log.lost);
	/* Up to 256 wait; beyond that they were told as lost. */
	PROPERTY(made > SF_SYSLOG_WAITING || seen == made);
	sf_syslog_close(&log);
	return 0;
}
