// SPDX-License-Identifier: GPL-2.0-only
#include "rulesets.h"
#include "cleanup.h"
#include <errno.h>
#include <string.h>
#include <strings.h>

#define CHAINS_MAX 1024
#define JUMPS_MAX  8192
#define SETS_MAX   256
#define TOKENS_MAX 256

struct chain {
	char table[80];
	char name[64];
	unsigned int hooks;   /* its own, then also of those that jump here */
	unsigned int actions; /* of all its rules, then also of where they jump to */
	unsigned int smtp_actions;
	unsigned int smtp_rules;
	char text[200];
};

struct jump {
	size_t from, to;
	bool on_smtp;
};

struct named_set {
	char table[80];
	char name[64];
};

/* What was read so far. */
struct ruleset {
	struct chain chains[CHAINS_MAX];
	struct jump jumps[JUMPS_MAX];
	struct named_set sets[SETS_MAX]; /* those that hold an SMTP port */
	size_t chain_count, jump_count, set_count;
	char table[80];
	bool cut;
};

struct tokens {
	char buffer[4096];
	char *at[TOKENS_MAX];
	size_t count;
};

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
}

/* Split at blanks and commas; a quoted text is one token that starts with its quote. */
static void split(const char *line, size_t len, struct tokens *t)
{
	char *p = t->buffer;

	t->count = 0;
	if (len >= sizeof(t->buffer))
		len = sizeof(t->buffer) - 1;
	memcpy(p, line, len);
	p[len] = '\0';
	while (t->count < TOKENS_MAX) {
		p += strspn(p, " \t,;");
		if (!*p)
			return;
		t->at[t->count++] = p;
		if (*p == '"') {
			for (p++; *p && *p != '"'; p++)
				if (*p == '\\' && p[1])
					p++;
			if (*p)
				p++;
		}
		p += strcspn(p, " \t,;");
		if (*p)
			*p++ = '\0';
	}
}

static const char *token(const struct tokens *t, size_t i)
{
	return i < t->count ? t->at[i] : "";
}

static bool is(const struct tokens *t, size_t i, const char *word)
{
	return !strcmp(token(t, i), word);
}

/* "25", "20-30", "20:30", "smtp", also lists with commas: does an SMTP port lie in it? */
static bool has_smtp_port(const char *word)
{
	static const char *const names[] = {"smtp",  "submission", "submissions",
					    "smtps", "ssmtp",	   "urd"};
	static const unsigned long ports[] = {25, 465, 587};
	unsigned long low, high;
	char *end;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(word, names[i]))
			return true;
	if (word[0] < '0' || word[0] > '9')
		return false;
	low = high = strtoul(word, &end, 10);
	if ((*end == '-' || *end == ':') && end[1] >= '0' && end[1] <= '9')
		high = strtoul(end + 1, &end, 10);
	if (*end)
		return false;
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		if (low <= ports[i] && ports[i] <= high)
			return true;
	return false;
}

/* The chain of that name in the current table; made when it is new. NULL: no room. */
static struct chain *get_chain(struct ruleset *r, const char *name)
{
	struct chain *c;

	for (size_t i = r->chain_count; i-- > 0;)
		if (!strncmp(r->chains[i].name, name, sizeof(c->name) - 1) &&
		    !strcmp(r->chains[i].table, r->table))
			return &r->chains[i];
	if (r->chain_count == CHAINS_MAX) {
		r->cut = true;
		return NULL;
	}
	c = &r->chains[r->chain_count++];
	copy(c->table, sizeof(c->table), r->table);
	copy(c->name, sizeof(c->name), name);
	return c;
}

static void add_jump(struct ruleset *r, const struct chain *from, const char *target, bool on_smtp)
{
	struct chain *to = get_chain(r, target);

	if (!to)
		return;
	if (r->jump_count == JUMPS_MAX) {
		r->cut = true;
		return;
	}
	r->jumps[r->jump_count++] = (struct jump){.from = (size_t)(from - r->chains),
						  .to = (size_t)(to - r->chains),
						  .on_smtp = on_smtp};
}

static void add_smtp_rule(struct chain *c, unsigned int actions, const char *line, size_t len)
{
	c->smtp_actions |= actions;
	if (c->smtp_rules++)
		return;
	while (len && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	snprintf(c->text, sizeof(c->text), "%.*s", (int)(len < 4096 ? len : 4096), line);
}

static unsigned int hook_of(const char *name)
{
	if (!strcasecmp(name, "output") || !strcasecmp(name, "egress"))
		return SF_HOOK_OUTPUT;
	if (!strcasecmp(name, "forward"))
		return SF_HOOK_FORWARD;
	if (!strcasecmp(name, "postrouting"))
		return SF_HOOK_OUTPUT | SF_HOOK_FORWARD;
	return 0;
}

/* Follow the jumps until nothing changes any more, then say what each chain does. */
static void conclude(struct ruleset *r, struct sf_rule_finding *list, size_t max, size_t *count,
		     bool *cut)
{
	size_t used = 0;
	bool changed = true;

	for (size_t round = 0; changed && round <= r->chain_count; round++) {
		changed = false;
		for (size_t i = 0; i < r->jump_count; i++) {
			struct chain *from = &r->chains[r->jumps[i].from];
			struct chain *to = &r->chains[r->jumps[i].to];

			if ((to->hooks | from->hooks) != to->hooks ||
			    (from->actions | to->actions) != from->actions)
				changed = true;
			to->hooks |= from->hooks;
			from->actions |= to->actions;
		}
	}
	for (size_t i = 0; i < r->jump_count; i++)
		if (r->jumps[i].on_smtp)
			r->chains[r->jumps[i].from].smtp_actions |=
				r->chains[r->jumps[i].to].actions;
	for (size_t i = 0; i < r->chain_count; i++) {
		const struct chain *c = &r->chains[i];
		struct sf_rule_finding *f;

		if (!c->hooks || !(c->smtp_actions & ~(unsigned int)SF_ACTION_ACCEPT))
			continue;
		if (used == max) {
			r->cut = true;
			break;
		}
		f = &list[used++];
		*f = (struct sf_rule_finding){
			.hooks = c->hooks, .actions = c->smtp_actions, .rules = c->smtp_rules};
		copy(f->table, sizeof(f->table), c->table);
		copy(f->chain, sizeof(f->chain), c->name);
		copy(f->text, sizeof(f->text), c->text);
	}
	*count = used;
	if (r->cut)
		*cut = true;
}

static bool set_has_smtp(const struct ruleset *r, const char *name)
{
	for (size_t i = 0; i < r->set_count; i++)
		if (!strncmp(r->sets[i].name, name, sizeof(r->sets[i].name) - 1) &&
		    !strcmp(r->sets[i].table, r->table))
			return true;
	return false;
}

/* Does a rule of nft match TCP to an SMTP port? *maps: it decides by a map with a name. */
static bool nft_is_smtp(const struct ruleset *r, const struct tokens *t, bool *maps)
{
	for (size_t i = 1; i < t->count; i++) {
		size_t p = i + 1;

		if (!is(t, i, "dport") || (!is(t, i - 1, "tcp") && !is(t, i - 1, "th")))
			continue;
		if (is(t, p, "=="))
			p++;
		if (is(t, p, "vmap") || is(t, p, "map")) {
			p++;
			*maps = token(t, p)[0] == '@';
		}
		if (token(t, p)[0] == '@')
			return set_has_smtp(r, token(t, p) + 1);
		if (!is(t, p, "{"))
			return has_smtp_port(token(t, p));
		for (p++; p < t->count && !is(t, p, "}"); p++)
			if (has_smtp_port(token(t, p)))
				return true;
	}
	return false;
}

static void nft_rule(struct ruleset *r, struct chain *c, const struct tokens *t, const char *line,
		     size_t len)
{
	bool maps = false, smtp = nft_is_smtp(r, t, &maps);
	unsigned int actions = maps ? SF_ACTION_UNKNOWN : 0;

	for (size_t i = 0; i < t->count; i++) {
		if (is(t, i, "drop") || is(t, i, "reject"))
			actions |= SF_ACTION_DENY;
		else if (is(t, i, "accept"))
			actions |= SF_ACTION_ACCEPT;
		else if (is(t, i, "redirect") || is(t, i, "dnat") || is(t, i, "tproxy"))
			actions |= SF_ACTION_REDIRECT;
		else if (is(t, i, "queue"))
			actions |= SF_ACTION_UNKNOWN;
		else if ((is(t, i, "jump") || is(t, i, "goto")) && i + 1 < t->count)
			add_jump(r, c, token(t, i + 1), smtp);
	}
	c->actions |= actions;
	if (smtp)
		add_smtp_rule(c, actions, line, len);
}

/* A line inside `set NAME {` or `map NAME {`: does an element hold an SMTP port? */
static void nft_set_line(struct ruleset *r, const char *name, const struct tokens *t, bool *listing)
{
	for (size_t i = 0; i < t->count; i++) {
		if (is(t, i, "elements")) {
			*listing = true;
		} else if (*listing && is(t, i, "}")) {
			*listing = false;
		} else if (*listing && has_smtp_port(token(t, i)) && !set_has_smtp(r, name)) {
			if (r->set_count == SETS_MAX) {
				r->cut = true;
				return;
			}
			copy(r->sets[r->set_count].table, sizeof(r->table), r->table);
			copy(r->sets[r->set_count++].name, sizeof(r->sets[0].name), name);
		}
	}
}

int sf_ruleset_nft(const char *text, struct sf_rule_finding *list, size_t max, size_t *count,
		   bool *cut)
{
	_cleanup_free_ struct ruleset *r = calloc(1, sizeof(*r));
	_cleanup_free_ struct tokens *t = calloc(1, sizeof(*t));
	enum { OUTSIDE, TABLE, CHAIN, SET, OTHER } in = OUTSIDE;
	struct chain *chain = NULL;
	char set[64] = "";
	bool listing = false;

	if (!r || !t)
		return -ENOMEM;
	for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		split(line, (size_t)(end - line), t);
		if (!t->count || token(t, 0)[0] == '#')
			continue;
		if (in == OUTSIDE) {
			if (is(t, 0, "table") && t->count >= 3) {
				snprintf(r->table, sizeof(r->table), "%s %s", token(t, 1),
					 token(t, 2));
				in = TABLE;
			}
		} else if (in == TABLE) {
			if (is(t, 0, "}"))
				in = OUTSIDE;
			else if (is(t, 0, "chain"))
				in = CHAIN;
			else if (is(t, 0, "set") || is(t, 0, "map"))
				in = SET;
			else if (is(t, t->count - 1, "{"))
				in = OTHER;
			if (in == CHAIN)
				chain = get_chain(r, token(t, 1));
			else if (in == SET)
				copy(set, sizeof(set), token(t, 1));
		} else if (in == SET) {
			if (!listing && is(t, 0, "}") && t->count == 1)
				in = TABLE;
			else
				nft_set_line(r, set, t, &listing);
		} else if (is(t, 0, "}") && t->count == 1) {
			in = TABLE;
		} else if (in == CHAIN && chain) {
			if (is(t, 0, "type") && is(t, 2, "hook"))
				chain->hooks |= hook_of(token(t, 3));
			else
				nft_rule(r, chain, t, line, (size_t)(end - line));
		}
	}
	conclude(r, list, max, count, cut);
	return 0;
}

static void iptables_rule(struct ruleset *r, const struct tokens *t, const char *line, size_t len)
{
	struct chain *c = get_chain(r, token(t, 1));
	const char *target = "";
	bool smtp = false, tcp = true;
	unsigned int actions = 0;

	if (!c)
		return;
	for (size_t i = 2; i + 1 < t->count; i++) {
		bool negated = is(t, i - 1, "!");

		if (is(t, i, "-p")) {
			tcp = negated || is(t, i + 1, "tcp") || is(t, i + 1, "all");
		} else if ((is(t, i, "--dport") || is(t, i, "--dports") || is(t, i, "--ports")) &&
			   !negated) {
			/* The commas of --dports are gone: its ports follow one by one. */
			for (size_t p = i + 1; p < t->count && token(t, p)[0] != '-'; p++)
				smtp |= has_smtp_port(token(t, p));
		} else if (is(t, i, "-j") || is(t, i, "-g")) {
			target = token(t, i + 1);
		}
	}
	smtp &= tcp;
	if (!strcmp(target, "DROP") || !strcmp(target, "REJECT") || !strcmp(target, "TARPIT"))
		actions = SF_ACTION_DENY;
	else if (!strcmp(target, "ACCEPT"))
		actions = SF_ACTION_ACCEPT;
	else if (!strcmp(target, "REDIRECT") || !strcmp(target, "DNAT") ||
		 !strcmp(target, "TPROXY"))
		actions = SF_ACTION_REDIRECT;
	else if (!strcmp(target, "NFQUEUE"))
		actions = SF_ACTION_UNKNOWN;
	else if (*target)
		add_jump(r, c, target, smtp); /* LOG and the like: chains without rules */
	c->actions |= actions;
	if (smtp)
		add_smtp_rule(c, actions, line, len);
}

int sf_ruleset_iptables(const char *text, struct sf_rule_finding *list, size_t max, size_t *count,
			bool *cut)
{
	_cleanup_free_ struct ruleset *r = calloc(1, sizeof(*r));
	_cleanup_free_ struct tokens *t = calloc(1, sizeof(*t));

	if (!r || !t)
		return -ENOMEM;
	for (const char *line = text, *end; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		split(line, (size_t)(end - line), t);
		if (!t->count)
			continue;
		if (token(t, 0)[0] == '*') {
			copy(r->table, sizeof(r->table), token(t, 0) + 1);
		} else if (token(t, 0)[0] == ':') {
			struct chain *c = get_chain(r, token(t, 0) + 1);

			/* Built-in chains have a policy; a user's may be named like one. */
			if (c && !is(t, 1, "-"))
				c->hooks |= hook_of(token(t, 0) + 1);
		} else if (is(t, 0, "-A") && t->count > 2) {
			iptables_rule(r, t, line, (size_t)(end - line));
		}
	}
	conclude(r, list, max, count, cut);
	return 0;
}
