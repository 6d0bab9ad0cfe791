// SPDX-License-Identifier: GPL-2.0-only
/* What sock_diag says of sockets, of any bytes. */
#include "netlink.h"
#include "../../user/sock_diag.h"
#include <unistd.h>

static int each(const struct sf_diag_socket *socket, void *context)
{
	uint64_t *sum = context;

	*sum += socket->cgroup + socket->msg.idiag_inode; /* both are there */
	return (socket->msg.idiag_uid & 63) == 63;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct inet_diag_sockid id = {.idiag_if = 0};
	struct fuzz_part rest = {data, size};
	uint8_t what = (uint8_t)fuzz_take(&rest, 1);
	uint64_t sum = 0;
	int fd = sf_diag_open(), ret;

	answers = rest;
	if (what & 1) {
		ret = sf_diag_end(fd, 2, &id);
		PROPERTY(ret <= 0 || what != 1 || size > 1);
	} else {
		ret = sf_diag_list(fd, 2, 0xffff, each, &sum);
		PROPERTY(ret <= 1);
	}
	unpoison();
	close(fd);
	return 0;
}
