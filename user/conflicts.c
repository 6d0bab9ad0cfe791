// SPDX-License-Identifier: GPL-2.0-only
#include "conflicts.h"
#include "capture.h"
#include "cleanup.h"
#include "escape.h"
#include "rulesets.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define CAPTURE_MS    3000
#define CAPTURE_BYTES (8u << 20)
#define FINDINGS_MAX  16

/* A key of a KEY="value" file that another tool reads. */
struct known_key {
	const char *tool;
	const char *file;
	const char *disabled; /* a file that switches the whole tool off, or NULL */
	const char *key;
	const char *what;
	const char *mend;
};

static const struct known_key keys[] = {
	{"CSF", "/etc/csf/csf.conf", "/etc/csf/csf.disable", "SMTP_BLOCK",
	 "it denies outgoing SMTP by iptables, by user and group",
	 "set SMTP_BLOCK = \"0\" and restart csf, once smtpfence enforces"},
	{"ASL", "/etc/asl/config", NULL, "FW_OUTPUT_MTA",
	 "it denies outgoing SMTP to all but the mail server",
	 "set FW_OUTPUT_MTA=\"no\" and run asl -s -f, once smtpfence enforces"},
};

static struct sf_conflict *add(struct sf_conflict *list, size_t max, size_t *count)
{
	if (*count >= max)
		return NULL;
	memset(&list[*count], 0, sizeof(list[0]));
	return &list[(*count)++];
}

static FILE *open_below(const char *root, const char *name)
{
	char file[PATH_MAX];
	int fd, n = snprintf(file, sizeof(file), "%s%s", root, name);
	struct stat st;
	FILE *in;

	if (n < 0 || (size_t)n >= sizeof(file))
		return NULL;
	fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	in = !fstat(fd, &st) && S_ISREG(st.st_mode) ? fdopen(fd, "r") : NULL;
	if (!in)
		close(fd);
	return in;
}

static int exists_below(const char *root, const char *name)
{
	char file[PATH_MAX];
	int n = snprintf(file, sizeof(file), "%s%s", root, name);

	return n > 0 && (size_t)n < sizeof(file) && !access(file, F_OK);
}

static int is_true(const char *value)
{
	return *value && strcmp(value, "0") && strcasecmp(value, "no") &&
	       strcasecmp(value, "off") && strcasecmp(value, "false");
}

/* The last KEY = "value" of a file; an empty text if there is none. */
static void read_key(FILE *in, const char *key, char *value, size_t size)
{
	char line[1024];
	size_t len = strlen(key);

	value[0] = '\0';
	for (int i = 0; i < 65536 && fgets(line, sizeof(line), in); i++) {
		char *p = line + strspn(line, " \t");

		if (strncmp(p, key, len))
			continue;
		p += len + strspn(p + len, " \t");
		if (*p++ != '=')
			continue;
		p += strspn(p, " \t\"'");
		p[strcspn(p, "\"'# \t\r\n")] = '\0';
		snprintf(value, size, "%s", p);
	}
}

static void find_keys(const char *root, struct sf_conflict *list, size_t max, size_t *count)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		_cleanup_fclose_ FILE *in = open_below(root, keys[i].file);
		char value[64], shown[160];
		struct sf_conflict *c;

		if (!in || (keys[i].disabled && exists_below(root, keys[i].disabled)))
			continue;
		read_key(in, keys[i].key, value, sizeof(value));
		if (!is_true(value))
			continue;
		c = add(list, max, count);
		if (!c)
			return;
		sf_escape_string(value, shown, sizeof(shown));
		c->tool = keys[i].tool;
		snprintf(c->what, sizeof(c->what), "%s", keys[i].what);
		snprintf(c->where, sizeof(c->where), "%s: %s = %s", keys[i].file, keys[i].key,
			 shown);
		snprintf(c->mend, sizeof(c->mend), "%s", keys[i].mend);
	}
}

/* The value of `enable` in the SMTP_BLOCKING block of Imunify360's YAML: -1 if it isn't there. */
static int read_imunify(FILE *in)
{
	char line[1024];
	int inside = 0, found = -1;

	for (int i = 0; i < 65536 && fgets(line, sizeof(line), in); i++) {
		char *p = line + strspn(line, " ");

		line[strcspn(line, "\r\n")] = '\0';
		if (!*p || *p == '#')
			continue;
		if (p == line)
			inside = !strncasecmp(p, "smtp_blocking:", 14);
		else if (inside && !strncmp(p, "enable:", 7))
			found = is_true(p + 7 + strspn(p + 7, " "));
	}
	return found;
}

static void find_imunify(const char *root, struct sf_conflict *list, size_t max, size_t *count)
{
	/* The merged file is what the agent goes by; without it, the administrator's own. */
	static const char *const files[] = {"/etc/sysconfig/imunify360/imunify360-merged.config",
					    "/etc/sysconfig/imunify360/imunify360.config"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		_cleanup_fclose_ FILE *in = open_below(root, files[i]);
		int enabled = in ? read_imunify(in) : -1;
		struct sf_conflict *c;

		if (enabled < 0)
			continue;
		c = enabled ? add(list, max, count) : NULL;
		if (!c)
			return;
		c->tool = "Imunify360";
		snprintf(c->what, sizeof(c->what),
			 "it denies or redirects outgoing SMTP by user and group");
		snprintf(c->where, sizeof(c->where), "%s: SMTP_BLOCKING, enable", files[i]);
		snprintf(c->mend, sizeof(c->mend),
			 "imunify360-agent config update '{\"SMTP_BLOCKING\": {\"enable\": "
			 "false}}', "
			 "once smtpfence enforces");
		return;
	}
}

static void find_cpanel(const char *root, struct sf_conflict *list, size_t max, size_t *count)
{
	struct sf_conflict *c;

	if (!exists_below(root, "/var/cpanel/smtpgidonlytweak"))
		return;
	c = add(list, max, count);
	if (!c)
		return;
	c->tool = "cPanel";
	snprintf(c->what, sizeof(c->what),
		 "SMTP Restrictions: it denies port 25 to all but root, Exim and Mailman by "
		 "iptables");
	snprintf(c->where, sizeof(c->where), "/var/cpanel/smtpgidonlytweak");
	snprintf(c->mend, sizeof(c->mend),
		 "WHM, Security Center, SMTP Restrictions: disable, once smtpfence enforces");
}

static void describe(const struct sf_rule_finding *f, const char *tool, struct sf_conflict *c)
{
	static const char *const hooks[] = {"", "outgoing", "forwarded", "outgoing and forwarded"};
	char table[160], chain[128], rule[256];

	sf_escape_string(f->table, table, sizeof(table));
	sf_escape_string(f->chain, chain, sizeof(chain));
	sf_escape_string(f->text, rule, sizeof(rule));
	c->tool = tool;
	snprintf(c->what, sizeof(c->what), "it %s %s SMTP connections%s (%u rule%s)",
		 f->actions & SF_ACTION_DENY	   ? "denies"
		 : f->actions & SF_ACTION_REDIRECT ? "redirects"
						   : "may deny",
		 hooks[f->hooks & 3],
		 (f->actions & (SF_ACTION_DENY | SF_ACTION_REDIRECT)) ==
				 (SF_ACTION_DENY | SF_ACTION_REDIRECT)
			 ? ", some it redirects"
			 : "",
		 f->rules, f->rules == 1 ? "" : "s");
	snprintf(c->where, sizeof(c->where), "table %s, chain %s: %s", table, chain, rule);
	if (!(f->hooks & SF_HOOK_OUTPUT))
		snprintf(c->mend, sizeof(c->mend),
			 "keep it for virtual machines and customers behind this host; a container "
			 "that smtpfence allows is still denied by it");
	else
		snprintf(c->mend, sizeof(c->mend),
			 "take it out where its owner keeps it, once smtpfence enforces; until "
			 "then a sender needs the permission of both");
}

static void cut_short(const char *tool, struct sf_conflict *list, size_t max, size_t *count)
{
	struct sf_conflict *c = add(list, max, count);

	if (!c)
		return;
	c->tool = tool;
	snprintf(c->what, sizeof(c->what), "it has more rules than are looked at here");
	snprintf(c->where, sizeof(c->where), "the rest of its rules");
	snprintf(c->mend, sizeof(c->mend), "look for ports 25, 465 and 587 in them yourself");
}

/* iptables-nft keeps its rules in nftables too: one chain is told once. */
static bool is_same_chain(const struct sf_rule_finding *nft, const char *family,
			  const struct sf_rule_finding *found, size_t count)
{
	char table[96];

	for (size_t i = 0; i < count; i++) {
		snprintf(table, sizeof(table), "%s %s", family, found[i].table);
		if (!strcmp(table, nft->table) && !strcmp(nft->chain, found[i].chain))
			return true;
	}
	return false;
}

int sf_conflicts_rules(const char *nft, const char *ip4, const char *ip6, struct sf_conflict *list,
		       size_t max, size_t *count)
{
	struct sf_rule_finding found[3][FINDINGS_MAX];
	static const char *const tools[] = {"iptables", "ip6tables", "nftables"};
	size_t counts[3] = {0, 0, 0};
	bool cut[3] = {false, false, false};
	int ret = 0;

	if (ip4)
		ret = sf_ruleset_iptables(ip4, found[0], FINDINGS_MAX, &counts[0], &cut[0]);
	if (!ret && ip6)
		ret = sf_ruleset_iptables(ip6, found[1], FINDINGS_MAX, &counts[1], &cut[1]);
	if (!ret && nft)
		ret = sf_ruleset_nft(nft, found[2], FINDINGS_MAX, &counts[2], &cut[2]);
	if (ret)
		return ret;
	for (size_t t = 0; t < 3; t++) {
		for (size_t i = 0; i < counts[t]; i++) {
			struct sf_conflict *c;

			if (t == 2 && (is_same_chain(&found[2][i], "ip", found[0], counts[0]) ||
				       is_same_chain(&found[2][i], "ip6", found[1], counts[1])))
				continue;
			c = add(list, max, count);
			if (!c)
				return 0;
			describe(&found[t][i], tools[t], c);
		}
		if (cut[t])
			cut_short(tools[t], list, max, count);
	}
	return 0;
}

/* A firewall that can't be asked is a finding too: nothing is known of it. */
static char *ask(const char *tool, const char *const *argv, struct sf_conflict *list, size_t max,
		 size_t *count)
{
	char *text = NULL;
	int ret = sf_capture(argv, CAPTURE_MS, CAPTURE_BYTES, &text);
	struct sf_conflict *c;

	if (!ret)
		return text;
	/* Not installed; or (-EIO) not usable: no root, no such kernel module, so no rules. */
	if (ret == -ENOENT || ret == -EIO)
		return NULL;
	c = add(list, max, count);
	if (c) {
		c->tool = tool;
		snprintf(c->what, sizeof(c->what), "its rules can't be read: %s", strerror(-ret));
		snprintf(c->where, sizeof(c->where), "the output of %s", argv[0]);
		snprintf(c->mend, sizeof(c->mend),
			 "look for ports 25, 465 and 587 in its rules yourself");
	}
	return NULL;
}

int sf_conflicts_find(const char *root, struct sf_conflict *list, size_t max, size_t *count,
		      struct sf_error *err)
{
	static const char *const nft[] = {"nft", "-nn", "list", "ruleset", NULL};
	static const char *const save4[] = {"iptables-save", NULL};
	static const char *const save6[] = {"ip6tables-save", NULL};
	_cleanup_free_ char *rules = NULL, *ip4 = NULL, *ip6 = NULL;
	size_t used = 0;
	int ret = 0;

	find_keys(root, list, max, &used);
	find_imunify(root, list, max, &used);
	find_cpanel(root, list, max, &used);
	if (!*root) {
		rules = ask("nftables", nft, list, max, &used);
		ip4 = ask("iptables", save4, list, max, &used);
		ip6 = ask("ip6tables", save6, list, max, &used);
		ret = sf_conflicts_rules(rules, ip4, ip6, list, max, &used);
	}
	if (ret)
		return sf_fail(err, ret, "out of memory while reading firewall rules");
	*count = used;
	return 0;
}
