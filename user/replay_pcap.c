// SPDX-License-Identifier: GPL-2.0-only
/*
 * Traces as captures: Ethernet with VLAN tags, raw IP, Linux cooked, IPv4 with options, IPv6 with
 * extension headers. A cursor goes from header to header; there are no fixed offsets.
 */
#include "replay.h"
#include <errno.h>
#include <pcap/pcap.h>
#include <string.h>
#include "escape.h"

#define TAGS_MAX    8
#define HEADERS_MAX 32

enum { ETH_IPV4 = 0x0800, ETH_IPV6 = 0x86dd };
enum {
	HOP_BY_HOP = 0,
	TCP = 6,
	ROUTING = 43,
	FRAGMENT = 44,
	AUTH = 51,
	DESTINATION = 60,
	MOBILITY = 135
};

struct cursor {
	const uint8_t *at, *end;
};

/* The next `n` bytes, or NULL. */
static const uint8_t *take(struct cursor *c, size_t n)
{
	const uint8_t *here = c->at;

	if ((size_t)(c->end - c->at) < n)
		return NULL;
	c->at += n;
	return here;
}

static uint16_t get16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

static uint32_t get32(const uint8_t *b)
{
	return (uint32_t)get16(b) << 16 | get16(b + 2);
}

/* Ethertype behind VLAN tags. */
static int past_tags(struct cursor *c, int type)
{
	for (int i = 0; i < TAGS_MAX; i++) {
		const uint8_t *tag;

		if (type != 0x8100 && type != 0x88a8 && type != 0x9100)
			return type;
		tag = take(c, 4);
		if (!tag)
			return -EINVAL;
		type = get16(tag + 2);
	}
	return -EINVAL;
}

static int version(const struct cursor *c)
{
	if (c->at == c->end)
		return -EINVAL;
	return *c->at >> 4 == 4 ? ETH_IPV4 : *c->at >> 4 == 6 ? ETH_IPV6 : -EINVAL;
}

/* The network protocol, from the link's header. */
static int past_link(struct cursor *c, int link)
{
	const uint8_t *h;

	switch (link) {
	case DLT_EN10MB:
		h = take(c, 14);
		return h ? past_tags(c, get16(h + 12)) : -EINVAL;
	case DLT_LINUX_SLL:
		h = take(c, 16);
		return h ? past_tags(c, get16(h + 14)) : -EINVAL;
	case DLT_LINUX_SLL2:
		h = take(c, 20);
		return h ? past_tags(c, get16(h)) : -EINVAL;
	case DLT_NULL: /* the family's number differs by system; the version does not */
	case DLT_LOOP:
		return take(c, 4) ? version(c) : -EINVAL;
	case DLT_RAW:
	case 14: /* DLT_RAW elsewhere */
	case DLT_IPV4:
	case DLT_IPV6:
		return version(c);
	default:
		return -EINVAL;
	}
}

static int past_ipv4(struct cursor *c, struct sf_addr *from, struct sf_addr *to)
{
	const uint8_t *h = take(c, 20);
	size_t header, total;

	if (!h || h[0] >> 4 != 4)
		return -EINVAL;
	header = (size_t)(h[0] & 15) * 4;
	total = get16(h + 2);
	/* Total length 0: the capture took it before segmentation (TSO). */
	if (header < 20 || (total && total < header) || !take(c, header - 20))
		return -EINVAL;
	if (total && (size_t)(c->end - h) > total)
		c->end = h + total;
	if (get16(h + 6) & 0x1fff)
		return 1; /* a later fragment: the first decides */
	memset(from, 0, sizeof(*from));
	from->b[10] = from->b[11] = 0xff;
	*to = *from;
	memcpy(from->b + 12, h + 12, 4);
	memcpy(to->b + 12, h + 16, 4);
	return h[9] == TCP ? 0 : 1;
}

static int past_ipv6(struct cursor *c, struct sf_addr *from, struct sf_addr *to)
{
	const uint8_t *h = take(c, 40), *x;
	int next;

	if (!h || h[0] >> 4 != 6)
		return -EINVAL;
	memcpy(from, h + 8, 16);
	memcpy(to, h + 24, 16);
	next = h[6];
	for (int i = 0; i < HEADERS_MAX; i++) {
		switch (next) {
		case TCP:
			return 0;
		case FRAGMENT:
			x = take(c, 8);
			if (!x)
				return -EINVAL;
			if (get16(x + 2) & 0xfff8)
				return 1;
			break;
		case HOP_BY_HOP:
		case ROUTING:
		case DESTINATION:
		case MOBILITY:
			x = take(c, 8);
			if (!x || !take(c, (size_t)x[1] * 8))
				return -EINVAL;
			break;
		case AUTH:
			x = take(c, 8);
			if (!x || !take(c, (size_t)x[1] * 4))
				return -EINVAL;
			break;
		default:
			return 1;
		}
		next = x[0];
	}
	return -EINVAL;
}

int sf_replay_packet(int link, const uint8_t *data, size_t length, struct sf_replay_event *e)
{
	struct cursor c = {data, data + length};
	struct sf_addr from, to;
	const uint8_t *tcp;
	uint16_t sport, dport;
	int type = past_link(&c, link), ret;

	if (type < 0)
		return type;
	if (type == ETH_IPV4)
		ret = past_ipv4(&c, &from, &to);
	else if (type == ETH_IPV6)
		ret = past_ipv6(&c, &from, &to);
	else
		return 1;
	if (ret)
		return ret;
	/* Only what is used must be there: captures are cut short. */
	tcp = take(&c, 14);
	if (!tcp)
		return -EINVAL;
	sport = get16(tcp);
	dport = get16(tcp + 2);
	memset(e, 0, sizeof(*e));
	if ((tcp[13] & 0x12) == 0x02) {
		*e = (struct sf_replay_event){.what = SF_REPLAY_SYN,
					      .source = from,
					      .destination = to,
					      .sport = sport,
					      .dport = dport,
					      .seq = get32(tcp + 4)};
		return 0;
	}
	if ((tcp[13] & 0x12) != 0x12 && (tcp[13] & 0x14) != 0x14)
		return 1;
	*e = (struct sf_replay_event){.what = tcp[13] & 0x04 ? SF_REPLAY_REFUSED
							     : SF_REPLAY_ANSWERED,
				      .source = to,
				      .destination = from,
				      .sport = dport,
				      .dport = sport,
				      .seq = get32(tcp + 8) - 1};
	return 0;
}

int sf_replay_pcap(struct sf_replay *r, const char *path, struct sf_error *err)
{
	char why[PCAP_ERRBUF_SIZE], text[2 * PCAP_ERRBUF_SIZE];
	pcap_t *in = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, why);
	struct sf_replay_totals *totals = sf_replay_counts(r);
	struct pcap_pkthdr *header;
	const u_char *data;
	int link, ret, result = 0;

	if (!in) {
		sf_escape_controls(why, text, sizeof(text));
		return sf_fail(err, -EIO, "can't read the capture %s: %s", path, text);
	}
	link = pcap_datalink(in);
	while ((ret = pcap_next_ex(in, &header, &data)) == 1) {
		struct sf_replay_event event;
		int seen = sf_replay_packet(link, data, header->caplen, &event);

		totals->unparsed += seen < 0;
		if (seen || header->ts.tv_sec < 0 || header->ts.tv_sec > SF_REPLAY_TIME_MAX ||
		    header->ts.tv_usec < 0 || header->ts.tv_usec > 999999999)
			continue;
		event.time_ns = (uint64_t)header->ts.tv_sec * 1000000000ULL +
				(uint64_t)header->ts.tv_usec; /* nanoseconds, as asked for */
		sf_replay_event(r, &event);
	}
	if (ret == PCAP_ERROR) {
		sf_escape_controls(pcap_geterr(in), text, sizeof(text));
		result = sf_fail(err, -EIO, "the capture %s ends in the middle: %s", path, text);
	}
	pcap_close(in);
	return result;
}
