// SPDX-License-Identifier: GPL-2.0-only
/*
 * A packet changed so that it is still nearly one: bytes at random would not get past its lengths.
 * Knows where headers are only roughly, which is good enough to hit them.
 */
#include "packet.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

struct packet {
	uint8_t *data;
	size_t size, room;
	size_t ip; /* where its IP header seems to begin */
	unsigned int seed;
};

static unsigned int dice(struct packet *p, unsigned int sides)
{
	return (unsigned int)rand_r(&p->seed) % sides;
}

static int insert(struct packet *p, size_t at, const uint8_t *bytes, size_t n)
{
	if (at > p->size || p->size + n > p->room)
		return 0;
	memmove(p->data + at + n, p->data + at, p->size - at);
	memcpy(p->data + at, bytes, n);
	p->size += n;
	return 1;
}

static int is_v6(const struct packet *p)
{
	return p->ip < p->size && p->data[p->ip] >> 4 == 6;
}

/* Lengths as they would be: most changes make them wrong. */
static void mend_lengths(struct packet *p)
{
	size_t whole = p->size - p->ip;

	if (p->ip + 6 > p->size || whole > 0xffff)
		return;
	if (is_v6(p))
		whole -= whole < 40 ? whole : 40;
	p->data[p->ip + (is_v6(p) ? 4 : 2)] = (uint8_t)(whole >> 8);
	p->data[p->ip + (is_v6(p) ? 5 : 3)] = (uint8_t)whole;
}

static void put_tag(struct packet *p)
{
	static const uint8_t tags[][4] = {{0x81, 0, 0, 7},
					  {0x88, 0xa8, 0, 9},
					  {0x91, 0, 0, 1},
					  {0x92, 0, 0, 1},
					  {0x93, 0, 0, 1}};

	if (p->size >= 14)
		insert(p, 12, tags[dice(p, 5)], 4);
}

static void put_extension(struct packet *p)
{
	static const uint8_t kinds[] = {0, 43, 44, 51, 60, 135, 139, 140};
	uint8_t header[24] = {0}, kind = kinds[dice(p, sizeof(kinds))];
	size_t size = kind == 44 ? 8 : kind == 51 ? 8 : 8u * (1 + dice(p, 3));

	if (!is_v6(p) || p->ip + 40 > p->size)
		return;
	header[0] = p->data[p->ip + 6];
	header[1] = (uint8_t)(kind == 51 ? 0 : size / 8 - 1);
	if (kind == 44)
		header[3] = (uint8_t)(dice(p, 3) == 0 ? 1 : dice(p, 4) == 0 ? dice(p, 256) : 0);
	if (insert(p, p->ip + 40, header, size))
		p->data[p->ip + 6] = kind;
}

static void put_options(struct packet *p)
{
	static const uint8_t options[] = {1, 1, 1, 1, 7, 7, 4, 0, 131, 3, 4, 0};
	size_t n = 4 * (1 + (size_t)dice(p, 3));

	if (is_v6(p) || p->ip + 20 > p->size)
		return;
	if (insert(p, p->ip + 20, options, n))
		p->data[p->ip] = (uint8_t)(0x45 + n / 4);
}

static void make_fragment(struct packet *p)
{
	static const uint16_t fields[] = {0x2000, 0x4000, 1, 2,	     3,
					  0x2001, 0x2002, 0, 0x8000, 0x1fff};
	uint16_t field = fields[dice(p, 10)];

	if (is_v6(p) || p->ip + 8 > p->size)
		return;
	p->data[p->ip + 6] = (uint8_t)(field >> 8);
	p->data[p->ip + 7] = (uint8_t)field;
}

/* One of the lists' networks, or beside it. */
static void put_address(struct packet *p)
{
	const struct network *const lists[] = {relays,	   quarantine_nets, quarantine_hosts,
					       mail_hosts, bound_hosts,	    own_nets,
					       local_addrs};
	const struct network *n = lists[dice(p, 7)];
	size_t size = is_v6(p) ? 16 : 4;
	size_t at = p->ip + (is_v6(p) ? 8 : 12) + dice(p, 2) * size;
	uint8_t address[16];
	char text[64];

	if (at + size > p->size)
		return;
	for (unsigned int skip = dice(p, 3); skip && n[1].text; skip--)
		n++;
	strcpy(text, n->text);
	*strchr(text, '/') = '\0';
	if (inet_pton(is_v6(p) ? AF_INET6 : AF_INET, text, address) != 1)
		return;
	if (dice(p, 3) == 0)
		address[size - 1] ^= (uint8_t)(1u << dice(p, 8));
	memcpy(p->data + at, address, size);
}

/* Ports, flags and offset of what may be TCP's header behind a plain IP header. */
static void change_tcp(struct packet *p)
{
	static const uint16_t ports[] = {25, 465, 587, 2525, 26, 24, 80, 281};
	static const uint8_t flags[] = {2, 0x12, 0x10, 4, 0xc2, 3, 6, 0x14};
	size_t tcp = p->ip + (is_v6(p) ? 40 : 4 * (size_t)(p->data[p->ip] & 15));
	uint16_t port = ports[dice(p, 8)];

	if (dice(p, 4) == 0) /* wherever it is: it ends the packet */
		tcp = p->size - (p->size < 20 ? p->size : 20);
	if (tcp + 14 > p->size)
		return;
	switch (dice(p, 3)) {
	case 0:
		p->data[tcp + 2] = (uint8_t)(port >> 8);
		p->data[tcp + 3] = (uint8_t)port;
		break;
	case 1:
		p->data[tcp + 13] = flags[dice(p, 8)];
		break;
	default:
		p->data[tcp + 12] = (uint8_t)(dice(p, 16) << 4);
	}
}

static void put_tunnel(struct packet *p)
{
	static const uint8_t outer[] = {0x45, 0, 0,  0, 0, 1, 0,  0, 64, 4,
					0,    0, 10, 0, 0, 1, 10, 0, 0,	 2};

	if (p->ip < p->size && insert(p, p->ip, outer, sizeof(outer)) && p->ip >= 14 &&
	    dice(p, 4)) {
		p->data[p->ip - 2] = 8;
		p->data[p->ip - 1] = 0;
	}
}

static void change_size(struct packet *p)
{
	if (dice(p, 2)) {
		p->size -= dice(p, (unsigned int)p->size);
	} else {
		size_t more = dice(p, 48);

		more = more < p->room - p->size ? more : p->room - p->size;
		memset(p->data + p->size, 0, more);
		p->size += more;
	}
}

static void change_byte(struct packet *p)
{
	static const uint8_t values[] = {0, 1, 4, 5, 6, 20, 40, 43, 44, 51, 60, 127, 128, 255};
	unsigned int most = p->size < 90 ? (unsigned int)p->size : 90;
	uint8_t *at = p->data + dice(p, most);

	*at = dice(p, 2) ? values[dice(p, sizeof(values))] : (uint8_t)(*at ^ 1u << dice(p, 8));
}

/* The other family, from its header on; TCP's header stays. */
static void other_family(struct packet *p)
{
	static const uint8_t v6[40] = {
		0x60, 0,   0,	 0,	   0,		20, 6,	 64,   0x20,
		1,    0xd, 0xb8, [23] = 1, [24] = 0x20, 1,  0xd, 0xb8, [39] = 2};
	static const uint8_t v4[20] = {0x45, 0, 0,   40, 0, 1, 0,   0,	64,  6,
				       0,    0, 192, 0,	 2, 1, 198, 51, 100, 7};
	size_t old = is_v6(p) ? 40 : 20;

	if (p->ip + old > p->size)
		return;
	if (p->ip >= 14) {
		p->data[p->ip - 2] = is_v6(p) ? 0x08 : 0x86;
		p->data[p->ip - 1] = is_v6(p) ? 0x00 : 0xdd;
	}
	memmove(p->data + p->ip, p->data + p->ip + old, p->size - p->ip - old);
	p->size -= old;
	insert(p, p->ip, old == 40 ? v4 : v6, old == 40 ? sizeof(v4) : sizeof(v6));
}

size_t packet_mutate(uint8_t *data, size_t size, size_t room, bool ethernet, unsigned int seed)
{
	static void (*const changes[])(struct packet *) = {
		put_tag,     put_extension, put_extension, put_options, make_fragment,
		put_address, put_address,   change_tcp,	   change_tcp,	put_tunnel,
		change_size, change_byte,   change_byte,   other_family};
	struct packet p = {data, size, room, 0, seed};

	for (unsigned int n = 1 + dice(&p, 4); n && p.size > 1; n--) {
		size_t at = 12;

		while (ethernet && at + 4 <= p.size &&
		       ((data[at] == 0x81 || (data[at] & 0xfc) == 0x90) && !data[at + 1]))
			at += 4;
		p.ip = ethernet ? at + 2 : 0;
		if (p.ip >= p.size)
			p.ip = p.size - 1;
		changes[dice(&p, sizeof(changes) / sizeof(changes[0]))](&p);
		if (p.ip < p.size && dice(&p, 4))
			mend_lengths(&p);
	}
	return p.size;
}
