// SPDX-License-Identifier: GPL-2.0-only
#include "hosts.h"
#include "cleanup.h"
#include "files.h"
#include "text.h"
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

void sf_hosts_free(struct sf_hosts *hosts)
{
	free(hosts->address);
	memset(hosts, 0, sizeof(*hosts));
}

static int enter(struct sf_hosts *hosts, const char *name, const struct sf_net_key *net,
		 int64_t seen)
{
	struct sf_host_address *a;

	for (size_t i = 0; i < hosts->count; i++) {
		a = &hosts->address[i];
		if (!strcmp(a->name, name) && !memcmp(&a->net, net, sizeof(*net))) {
			a->seen = seen;
			return 0;
		}
	}
	if (hosts->count == hosts->room) {
		size_t room = hosts->room ? hosts->room * 2 : 16;

		a = reallocarray(hosts->address, room, sizeof(*a));
		if (!a)
			return -ENOMEM;
		hosts->address = a;
		hosts->room = room;
	}
	a = &hosts->address[hosts->count++];
	memset(a, 0, sizeof(*a));
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->net = *net;
	a->seen = seen;
	return 0;
}

int sf_hosts_load(const char *state_dir, struct sf_hosts *hosts)
{
	_cleanup_fclose_ FILE *in = NULL;
	_cleanup_free_ char *line = NULL;
	char path[PATH_MAX], name[SF_NAME_MAX], address[64];
	size_t room = 0;
	int64_t seen;
	ssize_t n;

	memset(hosts, 0, sizeof(*hosts));
	snprintf(path, sizeof(path), "%s/hosts", state_dir);
	in = fopen(path, "re");
	if (!in)
		return errno == ENOENT ? 0 : -errno;
	while ((n = getline(&line, &room, in)) > 0) {
		struct sf_net_key net;

		/* A line that is no longer whole is as good as one that is not there. */
		if (line[n - 1] == '\n' && n < SF_NAME_MAX + 128 &&
		    /* NOLINTNEXTLINE(cert-err34-c): our own file; a time beyond all is one */
		    sscanf(line, "%255s %63s %" SCNd64, name, address, &seen) == 3 && seen >= 0 &&
		    !sf_net_parse(address, &net, NULL) && net.prefixlen == SF_NET_BITS_MAX &&
		    enter(hosts, name, &net, seen)) {
			sf_hosts_free(hosts);
			return -ENOMEM;
		}
	}
	return 0;
}

int sf_hosts_save(const char *state_dir, const struct sf_hosts *hosts, struct sf_error *err)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], address[64];
	struct sf_text memory;
	FILE *out = sf_text_open(&memory);

	if (!out)
		return sf_fail(err, -ENOMEM, "no memory");
	for (size_t i = 0; i < hosts->count; i++) {
		sf_net_format(&hosts->address[i].net, address, sizeof(address));
		fprintf(out, "%s %s %" PRId64 "\n", hosts->address[i].name, address,
			hosts->address[i].seen);
	}
	text = sf_text_close(out, &memory);
	if (!text)
		return sf_fail(err, -ENOMEM, "no memory");
	snprintf(path, sizeof(path), "%s/hosts", state_dir);
	return sf_file_write(path, text, memory.length, err);
}

int sf_hosts_know(const struct sf_hosts *hosts, const char *name)
{
	for (size_t i = 0; i < hosts->count; i++)
		if (!strcmp(hosts->address[i].name, name))
			return 1;
	return 0;
}

int sf_hosts_look_up(struct sf_hosts *hosts, const char *name, int64_t now, struct sf_error *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int ret = getaddrinfo(name, NULL, &hints, &list);

	if (ret)
		return sf_fail(err, -ENOENT,
			       "allow_host \"%s\": does not resolve (%s); mend the name or the "
			       "resolver, or allow its network instead",
			       name, gai_strerror(ret));
	for (struct addrinfo *a = list; a && !ret; a = a->ai_next) {
		struct sf_net_key net = {.prefixlen = SF_NET_BITS_MAX};

		if (a->ai_family == AF_INET) {
			net.family = SF_FAMILY_V4;
			net.addr.b[10] = net.addr.b[11] = 0xff;
			memcpy(&net.addr.b[12], &((struct sockaddr_in *)a->ai_addr)->sin_addr, 4);
		} else if (a->ai_family == AF_INET6) {
			net.family = SF_FAMILY_V6;
			memcpy(&net.addr, &((struct sockaddr_in6 *)a->ai_addr)->sin6_addr, 16);
		} else {
			continue;
		}
		ret = enter(hosts, name, &net, now);
	}
	freeaddrinfo(list);
	/* Seen while the clock was ahead: prune would take all that is seen now for old. */
	for (size_t i = 0; i < hosts->count; i++)
		if (!strcmp(hosts->address[i].name, name) && hosts->address[i].seen > now)
			hosts->address[i].seen = now;
	return ret ? sf_fail(err, ret, "no memory") : 0;
}

void sf_hosts_prune(struct sf_hosts *hosts, const struct sf_policy *policy)
{
	size_t kept = 0;

	for (size_t i = 0; i < hosts->count; i++) {
		const struct sf_host_address *a = &hosts->address[i];
		int64_t newest = 0;

		if (!sf_policy_find(policy, SF_ENTRY_ALLOW_HOST, a->name))
			continue;
		for (size_t j = 0; j < hosts->count; j++)
			if (!strcmp(hosts->address[j].name, a->name) &&
			    hosts->address[j].seen > newest)
				newest = hosts->address[j].seen;
		/* Measured against its own name's newest: a resolver that is down ages nothing. */
		if (newest - a->seen > SF_HOST_KEEP)
			continue;
		hosts->address[kept++] = *a;
	}
	hosts->count = kept;
}
