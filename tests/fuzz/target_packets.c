// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packets through the programs of uplinks and customers' interfaces, unattached and unpinned
 * (BPF_PROG_TEST_RUN), against packet_look.c and packet_judge.c: what became of it, which verdict
 * and reason were counted, what the census counted, and what was sent back. Programs give no
 * coverage; what they answered is fed back in its place, with the coverage of the judge. Needs
 * root.
 *
 * An input: program, mode, flags of the settings, flags of the gateway; then the frame.
 */
#include "fuzz.h"
#include "packet_run.h"
#include "../../maps/census.h"
#include "../../maps/verdict.h"

#define HEAD 4

static const char *const reasons[SF_REASON_COUNT] = {
#define X(name, label, verdict, text) label,
	SF_REASONS(X)
#undef X
};

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t features[4096];

/* From the input's first bytes: what the programs and the judge both go by. */
static struct policy policy_of(const uint8_t *head)
{
	static const enum mode modes[] = {ENFORCE, ENFORCE, MONITOR, OFF, WIPED};

	return (struct policy){
		.mode = modes[head[1] % 5],
		.allow_local = head[2] & 1,
		.relays = head[2] & 2,
		.quarantine_nets = head[2] & 4,
		.quarantine_hosts = head[2] & 8,
		.fence_forwarded = head[2] & 16,
		.resets = head[3] & 1,
		.mail_hosts = head[3] & 2,
		.bound_hosts = head[3] & 4,
		.own_nets = head[3] & 8,
	};
}

static uint32_t counter_of(unsigned int name, bool uplink)
{
	switch (name) {
	case IS_NOT_IP:
		return uplink ? 1u << SF_CENSUS_NOT_IP : 0;
	case IS_FRAGMENT:
		return uplink ? 1u << SF_CENSUS_FRAGMENT : 0;
	case IS_TINY:
		return 1u << SF_CENSUS_TINY_FRAGMENT;
	case IS_TRUNCATED:
		return 1u << SF_CENSUS_TRUNCATED;
	case IS_BAD:
		return 1u << SF_CENSUS_BAD_HEADER;
	case IS_TOO_MANY:
		return 1u << SF_CENSUS_TOO_MANY_HEADERS;
	default:
		return 0;
	}
}

/* One of the names that the packet may have: is what was seen right for it? */
static bool fits(const struct seen *seen, unsigned int name, enum program program,
		 const struct policy *p, const struct segment *s, bool has_sender)
{
	const bool uplink = program <= OUTIP;
	struct judgement j = {NOT_COUNTED, ""};
	uint32_t census = counter_of(name, uplink);
	enum fate fate = PASSES;

	if (name & (IS_TINY | IS_TRUNCATED | IS_BAD | IS_TOO_MANY)) {
		j = uplink ? uplink_unparsed(p) : gateway_unparsed(p);
	} else if (name == IS_TCP && (s->flags & 0x12) == 0x02) {
		j = uplink ? uplink_syn(p, s, has_sender) : gateway_syn(p, s);
		census = 1u << SF_CENSUS_SYN;
		if (s->dport == 25 || s->dport == 465 || s->dport == 587)
			census |= 1u << SF_CENSUS_FENCED;
		if (s->dport == 2525)
			census |= 1u << SF_CENSUS_WATCHED;
		if (uplink && !has_sender)
			census |= 1u << SF_CENSUS_NO_SENDER;
	}
	if (j.verdict == DENIED)
		fate = p->resets && !uplink && name == IS_TCP && s->plain &&
				       strcmp(j.reason, "spoofed")
			       ? RESET
			       : DROPPED;
	if (seen->fate != fate || seen->census != census)
		return false;
	if (j.verdict == NOT_COUNTED)
		return seen->verdict < 0;
	return seen->verdict == (int)j.verdict && seen->reason < SF_REASON_COUNT &&
	       !strcmp(reasons[seen->reason], j.reason);
}

static uint32_t sum_of(const uint8_t *data, size_t size, uint32_t sum)
{
	for (size_t i = 0; i < size; i++)
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
	return sum % 0xffff;
}

/* RFC 9293 3.5.2: to who sent it, about what he sent; the checksum as right as it was. */
static void check_reset(const struct seen *seen, const uint8_t *frame, size_t size,
			const struct segment *s)
{
	const size_t address = s->family == 4 ? 4 : 16, from = s->ip + (s->family == 4 ? 12 : 8);
	uint8_t want[4096];
	uint32_t ack = s->seq + 1;

	memcpy(want, frame, size);
	if (s->ip == 14) {
		memcpy(want, frame + 6, 6);
		memcpy(want + 6, frame, 6);
	}
	memcpy(want + from, frame + from + address, address);
	memcpy(want + from + address, frame + from, address);
	memcpy(want + s->tcp, frame + s->tcp + 2, 2);
	memcpy(want + s->tcp + 2, frame + s->tcp, 2);
	memset(want + s->tcp + 4, 0, 4);
	for (size_t i = 0; i < 4; i++)
		want[s->tcp + 8 + i] = (uint8_t)(ack >> (24 - 8 * i));
	want[s->tcp + 12] = frame[s->tcp + 12] & 0xf0;
	want[s->tcp + 13] = 0x14;
	memcpy(want + s->tcp + 16, seen->out + s->tcp + 16, 2);
	PROPERTY(seen->out_size == size && !memcmp(seen->out, want, size));
	PROPERTY(sum_of(want + from, size - from, 0) == sum_of(frame + from, size - from, 0));
}

static void complain(const struct seen *seen, enum program program, const struct policy *p,
		     unsigned int may_be)
{
	fprintf(stderr,
		"%s, mode %d: fate %d, verdict %d, reason %s, census %#x; the packet may be %#x\n",
		program_names[program], (int)p->mode, (int)seen->fate, seen->verdict,
		seen->reason < 0 ? "-" : reasons[seen->reason], seen->census, may_be);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	packet_load();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct seen seen;
	enum program program;
	struct policy policy;
	struct segment s;
	unsigned int may_be;
	bool has_sender, right = false;

	if (size < HEAD + 14 || size > 2000)
		return 0;
	program = data[0] % PROGRAMS;
	policy = policy_of(data);
	data += HEAD;
	size -= HEAD;
	may_be = packet_look(data, size, program != OUTIP && program != GWIP, &s);
	if (!packet_run(program, &policy, data, size, &seen))
		return 0;
	/* The test run's socket has a family, and so counts as a sender, only then. */
	has_sender = (data[12] == 8 && data[13] == 0) || (data[12] == 0x86 && data[13] == 0xdd);
	features[((unsigned int)program * 977 + (unsigned int)seen.fate * 331 +
		  (unsigned int)(seen.verdict * SF_REASON_MAX + seen.reason + 40) * 37 +
		  (seen.census % 4093) + (unsigned int)policy.mode * 211) %
		 sizeof(features)] = 1;
	PROPERTY(!seen.more && seen.fate != STRANGE);
	for (unsigned int name = 1; name <= IS_TOO_MANY; name <<= 1)
		right |= may_be & name && fits(&seen, name, program, &policy, &s, has_sender);
	if (!right)
		complain(&seen, program, &policy, may_be);
	PROPERTY(right);
	if (seen.fate == PASSES)
		PROPERTY(seen.out_size == size && !memcmp(seen.out, data, size));
	if (seen.fate == RESET)
		check_reset(&seen, data, size, &s);
	return 0;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int seed);

/* Mostly the packet; the rest libFuzzer's own way. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned int seed)
{
	unsigned int dice = seed % 16;

	if (size < HEAD + 14 || dice == 0)
		return LLVMFuzzerMutate(data, size, room);
	if (dice < 4)
		data[seed / 16 % HEAD] = (uint8_t)(seed >> 16);
	return HEAD + packet_mutate(data + HEAD, size - HEAD, room - HEAD,
				    data[0] % PROGRAMS != OUTIP && data[0] % PROGRAMS != GWIP,
				    seed / 16);
}
