// SPDX-License-Identifier: GPL-2.0-only
/* How open connections are judged: pure. Finding and ending them is open_connections.c. */
#include "open_connections.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>

const char *sf_open_state(uint8_t state)
{
	switch (state) {
	case TCP_SYN_SENT:
		return "SYN_SENT";
	case TCP_ESTABLISHED:
		return "ESTABLISHED";
	case TCP_CLOSE_WAIT:
		return "CLOSE_WAIT";
	case TCP_FIN_WAIT1:
		return "FIN_WAIT1";
	case TCP_FIN_WAIT2:
		return "FIN_WAIT2";
	default:
		return "?";
	}
}

static void fold_address(uint8_t family, const void *from, struct sf_addr *to)
{
	if (family == AF_INET6) {
		memcpy(to, from, sizeof(*to));
		return;
	}
	memset(to, 0, sizeof(*to));
	to->b[10] = to->b[11] = 0xff;
	memcpy(&to->b[12], from, 4);
}

void sf_open_fold(const struct sf_diag_socket *socket, struct sf_open_connection *connection)
{
	const struct inet_diag_sockid *id = &socket->msg.id;

	connection->socket = *socket;
	fold_address(socket->msg.idiag_family, id->idiag_src, &connection->saddr);
	fold_address(socket->msg.idiag_family, id->idiag_dst, &connection->daddr);
	connection->sport = ntohs(id->idiag_sport);
	connection->dport = ntohs(id->idiag_dport);
	connection->family = IN6_IS_ADDR_V4MAPPED(&connection->daddr) ? SF_FAMILY_V4 : SF_FAMILY_V6;
	connection->uid = socket->msg.idiag_uid;
}

/* As the kernel's trie answers: the value of the longest prefix that holds the address, or NULL. */
static const void *find_net(const struct sf_table *table, uint32_t family,
			    const struct sf_addr *addr)
{
	struct sf_net_key key = {.prefixlen = SF_NET_BITS_MAX, .family = family, .addr = *addr};
	const void *found = NULL;

	for (uint32_t bits = 128; table->count; bits--) {
		key.prefixlen = SF_NET_FAMILY_BITS + bits;
		found = sf_table_find(table, &key);
		if (found || !bits)
			break;
		/* The next shorter network: one bit less. */
		key.addr.b[(bits - 1) / 8] &= (__u8) ~(0x80 >> ((bits - 1) % 8));
	}
	return found;
}

/* The nearest role on the way up a path; bpf/lib/identity.h does the same by ids. */
static void find_place(const struct sf_image *image, uint64_t now_ns,
		       const struct sf_open_sender *sender, struct sf_place *place)
{
	const char *path = sender->cgroup;
	size_t length;

	memset(place, 0, sizeof(*place));
	if (!path) {
		place->unknown = 1;
		return;
	}
	length = strcmp(path, "/") ? strlen(path) : 0;
	for (int level = 0; level < SF_DEPTH_MAX; level++) {
		struct sf_role_path key = {.path = "/"};
		const struct sf_role *role = NULL;

		if (length <= SF_PATH_LIMIT) {
			memcpy(key.path, path, length);
			role = sf_table_find(&image->table[SF_IMAGE_ROLE_PATHS], &key);
		}
		if (role && now_ns < role->quarantine_until_ns)
			place->quarantined = 1;
		if (role && role->kind != SF_ROLE_NONE && !place->anchor) {
			place->anchor = length + 1; /* any number that only this path has */
			place->kind = role->kind;
			place->user_listed =
				!sender->knows_uid || sf_role_has_user(role, sender->uid);
		}
		if (!length)
			return;
		while (length && path[length - 1] != '/')
			length--;
		length = length ? length - 1 : 0;
	}
	*place = (struct sf_place){.quarantined = place->quarantined, .too_deep = 1};
}

static const struct sf_sender *find_sender(const struct sf_image *image, uint32_t kind, uint32_t id)
{
	struct sf_sender_key key = {.kind = kind, .id = id};

	return sf_table_find(&image->table[SF_IMAGE_SENDERS], &key);
}

static int allows_anybody(const struct sf_image *image, uint16_t port, uint64_t now_ns)
{
	const struct sf_table *senders = &image->table[SF_IMAGE_SENDERS];

	for (size_t i = 0; i < senders->count; i++) {
		const struct sf_sender *s = sf_table_value(senders, i);

		if (sf_grants_hold(&s->allowed, port, now_ns))
			return 1;
	}
	return 0;
}

struct sf_decision sf_open_decide(const struct sf_image *image, uint64_t now_ns,
				  const struct sf_open_connection *c,
				  const struct sf_open_sender *sender)
{
	struct sf_facts facts = {
		.mode = image->settings.mode,
		.allow_local = (image->settings.flags & SF_SETTING_ALLOW_LOCAL) != 0,
	};
	const struct sf_net_key source = {
		.prefixlen = SF_NET_BITS_MAX, .family = c->family, .addr = c->saddr};
	const struct sf_grants *relay;
	const struct sf_net_quarantine *q;
	const struct sf_sender *user = NULL, *group = NULL;

	find_place(image, now_ns, sender, &facts.socket);
	facts.task = facts.socket;
	/* Bound to another interface than loopback: it leaves by that one. */
	facts.to_local = c->socket.msg.id.idiag_if <= 1 &&
			 (sf_addr_is_self(c->family, &c->daddr) ||
			  sf_table_find(&image->table[SF_IMAGE_LOCAL_ADDRS], &c->daddr));
	relay = find_net(&image->table[SF_IMAGE_RELAYS], c->family, &c->daddr);
	facts.to_relay = relay && sf_grants_hold(relay, c->dport, now_ns);
	q = find_net(&image->table[SF_IMAGE_QUARANTINE_NETS], c->family, &c->saddr);
	facts.source_quarantined = q && now_ns < q->until_ns;
	q = sf_table_find(&image->table[SF_IMAGE_QUARANTINE_HOSTS], &source);
	facts.source_quarantined |= q && now_ns < q->until_ns;
	if (sender->knows_uid)
		user = find_sender(image, SF_SENDER_USER, sender->uid);
	else
		facts.sender_allowed = allows_anybody(image, c->dport, now_ns) != 0;
	if (sender->knows_gid)
		group = find_sender(image, SF_SENDER_GROUP, sender->gid);
	if ((user && sf_grants_hold(&user->allowed, c->dport, now_ns)) ||
	    (group && sf_grants_hold(&group->allowed, c->dport, now_ns)))
		facts.sender_allowed = 1;
	facts.sender_quarantined = user && now_ns < user->quarantine_until_ns;
	return sf_decide(&facts);
}
