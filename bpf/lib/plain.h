/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The short way past the parser, for nearly all packets: an ordinary header, looked at without a
 * call and without a stack. Pure. What it can't say at once the parser looks at; what it does say
 * the parser would say too.
 */
#ifndef SF_BPF_PLAIN_H
#define SF_BPF_PLAIN_H

#include "parse.h"

enum sf_plain {
	SF_PLAIN_UNKNOWN,
	SF_PLAIN_NO_TCP,
	SF_PLAIN_TCP,
};

/* An Ethernet frame; `tcp` and its offset are set where it holds TCP's header. One tag is followed.
 */
SF_PURE enum sf_plain sf_plain(const __u8 *data, const __u8 *end, const __u8 **tcp, __u32 *off)
{
	const __u8 *ip = data + 14;
	__u16 type;

	if (data + 14 + 40 > end)
		return SF_PLAIN_UNKNOWN;
	type = *(const sf_load16 *)(data + 12);
	*off = 14;
	if (type == sf_swap16(0x8100)) {
		if (data + 18 + 40 > end)
			return SF_PLAIN_UNKNOWN;
		type = *(const sf_load16 *)(data + 16);
		ip = data + 18;
		*off = 18;
	}
	if (type == sf_swap16(0x0800)) {
		/* no options, no fragment, all of TCP's header in the packet */
		if (ip[0] != 0x45 || (*(const sf_load16 *)(ip + 6) & sf_swap16(0x3fff)) ||
		    sf_get16(ip + 2) < 40)
			return SF_PLAIN_UNKNOWN;
		if (ip[9] != 6)
			return SF_PLAIN_NO_TCP;
		*tcp = ip + 20;
		*off += 20;
	} else if (type == sf_swap16(0x86dd)) {
		if (ip[0] >> 4 != 6)
			return SF_PLAIN_UNKNOWN;
		if (ip[6] == 17)
			return SF_PLAIN_NO_TCP;
		if (ip[6] != 6 || sf_get16(ip + 4) < 20 || ip + 60 > end)
			return SF_PLAIN_UNKNOWN;
		*tcp = ip + 40;
		*off += 40;
	} else {
		return SF_PLAIN_UNKNOWN;
	}
	return (*tcp)[12] >> 4 >= 5 ? SF_PLAIN_TCP : SF_PLAIN_UNKNOWN;
}

SF_PURE int sf_plainly_no_syn(const __u8 *data, const __u8 *end)
{
	const __u8 *tcp = data;
	__u32 off = 0;
	enum sf_plain plain = sf_plain(data, end, &tcp, &off);

	return plain == SF_PLAIN_NO_TCP ||
	       (plain == SF_PLAIN_TCP && (tcp[13] & (SF_TCP_SYN | SF_TCP_ACK)) != SF_TCP_SYN);
}

/* Neither SYN nor RST: no answer to an attempt. */
SF_PURE int sf_plainly_no_answer(const __u8 *data, const __u8 *end)
{
	const __u8 *tcp = data;
	__u32 off = 0;
	enum sf_plain plain = sf_plain(data, end, &tcp, &off);

	return plain == SF_PLAIN_NO_TCP ||
	       (plain == SF_PLAIN_TCP && !(tcp[13] & (SF_TCP_SYN | SF_TCP_RST)));
}

/* ... and not of a greeting's size either: text of `least` to `most` bytes in a frame of `len`. */
SF_PURE int sf_plainly_silent(const __u8 *data, const __u8 *end, __u32 len, __u32 least, __u32 most)
{
	const __u8 *tcp = data;
	__u32 off = 0;
	enum sf_plain plain = sf_plain(data, end, &tcp, &off);

	if (plain != SF_PLAIN_TCP)
		return plain == SF_PLAIN_NO_TCP;
	if (tcp[13] & (SF_TCP_SYN | SF_TCP_RST))
		return 0;
	len -= off + (__u32)(tcp[12] >> 4) * 4;
	return len < least || len > most; /* also where the header is longer than the frame */
}

#endif
