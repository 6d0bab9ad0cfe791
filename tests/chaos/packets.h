/* SPDX-License-Identifier: GPL-2.0-only */
/* Whole packets that senders.py made, sent without a connect(): by raw and by packet sockets. */
#ifndef SMTPFENCE_CHAOS_PACKETS_H
#define SMTPFENCE_CHAOS_PACKETS_H

#include <linux/if_packet.h>
#include <net/if.h>

#include "client_ways.h"

#define PACKETS_MAX 64

static struct packet {
	unsigned char data[256]; /* an Ethernet frame */
	size_t length;
} packets[PACKETS_MAX];
static size_t packet_count;

/* One frame a line, in hex. */
static void load_packets(const char *path)
{
	FILE *in = fopen(path, "re");
	unsigned int byte;
	char line[600];

	if (!in)
		die(path);
	while (packet_count < PACKETS_MAX && fgets(line, sizeof(line), in)) {
		struct packet *p = &packets[packet_count++];

		for (const char *c = line;
		     p->length < sizeof(p->data) && sscanf(c, "%2x", &byte) == 1; c += 2)
			p->data[p->length++] = (unsigned char)byte;
	}
	fclose(in);
}

/* Dropped behind the socket layer is not refused: whatever was handed in counts as sent. */
static int handed_in(ssize_t rc)
{
	return rc >= 0 || errno == ENOBUFS ? 0 : -errno;
}

static int by_packet_socket(const struct packet *p, const char *device)
{
	static int fd = -1;

	if (fd < 0) {
		struct sockaddr_ll at = {.sll_family = AF_PACKET,
					 .sll_ifindex = (int)if_nametoindex(device)};

		fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
		if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)))
			die(device);
	}
	return handed_in(send(fd, p->data, p->length, 0));
}

static int by_raw_socket(const struct packet *p)
{
	static int fds[2] = {-1, -1};
	const unsigned char *ip = p->data + 14;
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	bool v6 = ip[0] >> 4 == 6;
	int *fd = &fds[v6];

	if (*fd < 0)
		*fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	if (*fd < 0)
		die("raw socket");
	memcpy(&in.sin_addr, ip + 16, 4);
	memcpy(&in6.sin6_addr, ip + 24, 16);
	return handed_in(sendto(*fd, ip, p->length - 14, 0,
				v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in,
				v6 ? sizeof(in6) : sizeof(in)));
}

#endif
