// SPDX-License-Identifier: GPL-2.0-only
#include "journal.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define FIELDS_MAX 40

void sf_journal_init(struct sf_journal *journal, const char *path)
{
	memset(journal, 0, sizeof(*journal));
	journal->path = path ? path : SF_JOURNAL_SOCKET;
	journal->fd = -1;
}

void sf_journal_close(struct sf_journal *journal)
{
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = -1;
}

int sf_journal_send(struct sf_journal *journal, const char *const *fields, size_t count)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct iovec parts[2 * FIELDS_MAX];
	struct msghdr message = {.msg_name = &to,
				 .msg_namelen = sizeof(to),
				 .msg_iov = parts,
				 .msg_iovlen = 2 * count};
	int ret = 0;

	if (count > FIELDS_MAX || strlen(journal->path) >= sizeof(to.sun_path))
		return -E2BIG;
	memcpy(to.sun_path, journal->path, strlen(journal->path) + 1);
	for (size_t i = 0; i < count; i++) {
		parts[2 * i] = (struct iovec){(void *)fields[i], strlen(fields[i])};
		parts[2 * i + 1] = (struct iovec){"\n", 1};
	}
	if (journal->fd < 0)
		journal->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* By address each time: a journal that was restarted has a new socket. */
	if (journal->fd < 0 || sendmsg(journal->fd, &message, MSG_NOSIGNAL) < 0)
		ret = -errno;
	journal->failing = ret != 0;
	journal->lost += ret != 0;
	return ret;
}
