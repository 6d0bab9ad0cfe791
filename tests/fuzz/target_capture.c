// SPDX-License-Identifier: GPL-2.0-only
/* `smtpfence replay` of a capture: pcap, pcapng; and each packet by itself, of any link. */
#include "replay.h"
#include "../../user/net.h"

static const int links[] = {1, 113, 276, 0, 108, 101, 12, 14, 228, 229, 999};

/* The first byte chooses: 0xf0 and above one packet, of a link; else the bytes are a file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sf_replay_event e = {.sport = 0};
	uint8_t *copy;

	if (!size || *data < 0xf0) {
		replay(fuzz_file(0, (struct fuzz_part){data, size}));
		return 0;
	}
	copy = malloc(size); /* of the packet's size: a byte behind it is an error */
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (((*data & 15) % 11) == i && !sf_replay_packet(links[i], copy, size - 1, &e))
			PROPERTY(e.what <= SF_REPLAY_REFUSED && !e.has_sender);
	free(copy);
	return 0;
}
