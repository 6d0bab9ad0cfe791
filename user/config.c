// SPDX-License-Identifier: GPL-2.0-only
/*
 * libconfuse splits the files into words and finds mistakes of form; what the words mean is checked
 * by keys.c and policy.c. libconfuse's callbacks carry no pointer of ours, so the file that is
 * being read stands in one thread-local.
 */
#include "config.h"
#include "comments.h"
#include "cleanup.h"
#include "escape.h"
#include "text.h"
#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

struct reading {
	struct sf_policy *policy;
	struct sf_error *err;
	const char *file;
	const char *text; /* of the file, without comments */
	int managed;
	int lenient; /* an unknown user is no mistake: the entry is not in effect */
	int failed;
	int key_line[64];
};

static _Thread_local struct reading *now_reading;

static int complain(struct reading *r, int line, const char *text)
{
	char file[PATH_MAX];

	if (r->failed) /* the first mistake is the cause */
		return -EINVAL;
	r->failed = 1;
	sf_escape_string(r->file, file, sizeof(file));
	return sf_fail_usage(r->err, "%.700s:%d: %.300s", file, line, text);
}

/* libconfuse found a mistake of form. Its texts quote what stands in the file. */
static void on_parse_error(cfg_t *cfg, const char *format, va_list args)
{
	static const char unknown[] = "no such option '";
	char raw[400], text[600], name[64];
	const char *guess = NULL;

	vsnprintf(raw, sizeof(raw), format, args);
	sf_escape_string(raw, text, 300);
	if (!strncmp(raw, unknown, sizeof(unknown) - 1)) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(raw + sizeof(unknown) - 1, "'"),
			 raw + sizeof(unknown) - 1);
		guess = sf_key_guess(name);
		if (guess)
			snprintf(text + strlen(text), 100, ": did you mean %s?", guess);
		else
			snprintf(text + strlen(text), 100,
				 ": take it out, or see smtpfence.conf(5) for the keys");
	} else {
		snprintf(text + strlen(text), 100,
			 " (values stand in quotes, lists in braces, sections end with })");
	}
	complain(now_reading, cfg ? cfg->line : 0, text);
}

static int note_key_line(cfg_t *cfg, cfg_opt_t *opt)
{
	int i = sf_key_find(opt->name);

	if (i >= 0)
		now_reading->key_line[i] = cfg->line;
	return 0;
}

/* cfg_getopt complains of what a section can't have, so look quietly. */
static unsigned int count_of(cfg_t *section, const char *name)
{
	for (cfg_opt_t *opt = section->opts; opt && opt->name; opt++)
		if (!strcmp(opt->name, name))
			return cfg_opt_size(opt);
	return 0;
}

static int take_ports(cfg_t *section, struct sf_entry *entry, struct sf_error *err)
{
	struct sf_policy scratch;
	static const struct sf_key ports = {
		.name = "ports", .type = SF_KEY_PORTS, .offset = offsetof(struct sf_policy, ports)};

	for (unsigned int i = 0; i < count_of(section, "ports"); i++) {
		int ret = sf_key_set(&scratch, &ports, cfg_getnstr(section, "ports", i), err);

		if (ret)
			return ret;
		if (scratch.ports.count != 1)
			return sf_fail_usage(err, "ports: \"\" is not a port: write numbers");
		if (entry->port_count == SF_GRANTS_MAX)
			return sf_fail_usage(err,
					     "ports: more than %d: leave the list out to mean "
					     "every fenced port",
					     SF_GRANTS_MAX);
		entry->ports[entry->port_count++] = scratch.ports.port[0];
	}
	return 0;
}

/* Of what is left out there is no limit; but one is meant where there is a section. */
static int take_limits(cfg_t *section, struct sf_entry *entry, struct sf_error *err)
{
	struct sf_pair pair;
	int ret;

	if (entry->kind < SF_ENTRY_LIMIT_USER)
		return 0;
	if (!count_of(section, "warn") && !count_of(section, "act"))
		return sf_fail_usage(err, "no limit: write warn = 15 act = 100, or what fits");
	ret = sf_pair_parse(count_of(section, "warn") ? cfg_getstr(section, "warn") : "0",
			    count_of(section, "act") ? cfg_getstr(section, "act") : "0", &pair,
			    err);
	if (ret)
		return ret;
	entry->warn = pair.warn;
	entry->act = pair.act;
	return 0;
}

/* The names of the list as one text; they are looked up by sf_entry_resolve. */
static int take_users(cfg_t *section, struct sf_entry *entry, struct sf_error *err)
{
	const char *name = sf_entry_list_name(entry->kind);
	struct sf_text text;
	FILE *out;

	if (!count_of(section, name))
		return 0;
	out = sf_text_open(&text);
	if (!out)
		return sf_fail(err, -ENOMEM, "no memory");
	for (unsigned int i = 0; i < count_of(section, name); i++)
		fprintf(out, "%s%s", i ? "," : "", cfg_getnstr(section, name, i));
	entry->user_names = sf_text_close(out, &text);
	return entry->user_names ? 0 : sf_fail(err, -ENOMEM, "no memory");
}

/* A section was read to its end: make it an entry, while the line is known. */
static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	struct reading *r = now_reading;
	cfg_t *section = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
	struct sf_entry entry = {.managed = r->managed};
	const char *title = cfg_title(section), *text;
	struct sf_error err = {.code = 0};
	char message[SF_ERROR_LEN + 64];
	int line = section->line ? section->line : cfg->line, ret;

	entry.line = line;
	for (int k = 0; k < SF_ENTRY_KINDS; k++)
		if (!strcmp(sf_entry_sections[k], opt->name))
			entry.kind = (enum sf_entry_kind)k;
	if (!title || strlen(title) >= sizeof(entry.value)) {
		snprintf(message, sizeof(message), "%s: the name is longer than %zu bytes",
			 opt->name, sizeof(entry.value) - 1);
		return complain(r, line, message);
	}
	memcpy(entry.value, title, strlen(title) + 1);
	if (take_users(section, &entry, &err) || take_limits(section, &entry, &err))
		goto fault;
	ret = sf_entry_resolve(&entry, &err);
	if (ret && !(ret == -ENOENT && r->lenient))
		goto fault;
	if (count_of(section, "comment")) {
		text = cfg_getstr(section, "comment");
		snprintf(entry.comment, sizeof(entry.comment), "%s", text);
	}
	if (count_of(section, "expires") &&
	    sf_time_parse(cfg_getstr(section, "expires"), &entry.expires)) {
		sf_fail_usage(&err, "%s: expires: write a time in UTC like 2026-11-23T12:00:00Z",
			      opt->name);
		goto fault;
	}
	if (take_ports(section, &entry, &err))
		goto fault;
	if (sf_policy_append(r->policy, &entry)) {
		sf_fail(&err, -ENOMEM, "no memory");
		goto fault;
	}
	/* libconfuse looks through all titles for each new one: let it forget this one. */
	cfg_opt_rmnsec(opt, cfg_opt_size(opt) - 1);
	return 0;
fault:
	free(entry.user_names);
	/* The kind once, whoever of the callees has named it already. */
	snprintf(message, sizeof(message), "%s%s%s",
		 strncmp(err.text, opt->name, strlen(opt->name)) ? opt->name : "",
		 strncmp(err.text, opt->name, strlen(opt->name)) ? ": " : "", err.text);
	return complain(r, line, message);
}

/* libconfuse does not say where an empty list stands: where the key was written last. */
static int line_of_empty(const char *text, const char *name)
{
	const char *last = NULL;
	int line = 1;

	for (const char *p = text; (p = strstr(p, name)); p++) {
		const char *after = p + strlen(name);

		if (p > text && (isalnum((unsigned char)p[-1]) || p[-1] == '_'))
			continue;
		after += strspn(after, " \t\r\n");
		if (*after == '=')
			last = p;
	}
	for (const char *p = text; last && p < last; p++)
		line += *p == '\n';
	return last ? line : 0;
}

/* Take over what this file sets; what it leaves out keeps its value. */
static int take_keys(struct reading *r, cfg_t *cfg)
{
	for (size_t k = 0; k < sf_key_count; k++) {
		const struct sf_key *key = &sf_keys[k];
		cfg_opt_t *opt = cfg_getopt(cfg, key->name);
		_cleanup_free_ char *text = NULL;
		struct sf_error err = {.code = 0};

		if (!r->key_line[k] && !(opt->flags & CFGF_MODIFIED))
			continue;
		if (!r->key_line[k])
			r->key_line[k] = line_of_empty(r->text, key->name);
		if (r->managed && key->fixed)
			return complain(r, r->key_line[k],
					"a location stands in the administrator's file only");
		for (unsigned int i = 0; i < cfg_opt_size(opt); i++) {
			char *longer = NULL;

			if (asprintf(&longer, "%s%s%s", text ? text : "", i ? "," : "",
				     cfg_opt_getnstr(opt, i)) < 0)
				return complain(r, r->key_line[k], "no memory");
			free(text);
			text = longer;
		}
		if (sf_key_set(r->policy, key, text ? text : "", &err))
			return complain(r, r->key_line[k], err.text);
		if (r->managed)
			r->policy->managed_keys |= 1ULL << k;
	}
	return 0;
}

static FILE *open_without_comments(struct reading *r, char **text)
{
	_cleanup_fclose_ FILE *in = fopen(r->file, "re");
	struct sf_text memory;
	const char *fault;
	FILE *out, *again;
	int line = 0;

	*text = NULL;
	if (!in) {
		sf_fail_usage(r->err, "%s: can't be read: %s", r->file, strerror(errno));
		return NULL;
	}
	out = sf_text_open(&memory);
	if (!out) {
		complain(r, 0, "no memory");
		return NULL;
	}
	fault = sf_blank_comments(in, out, &line);
	*text = sf_text_close(out, &memory);
	if (!fault && ferror(in))
		fault = "it could not be read whole";
	if (!fault && !*text)
		fault = "no memory";
	if (!fault && ftell(in) == 0)
		fault = "the file is empty, as a crash or a full disk may leave it: get it back; "
			"a comment in it says that the defaults are meant";
	if (fault) {
		complain(r, line, fault);
		return NULL;
	}
	again = fmemopen(*text, memory.length, "r");
	if (!again)
		complain(r, 0, "no memory");
	return again;
}

static int parse(struct reading *r)
{
	cfg_opt_t with_users[] = {CFG_STR_LIST("users", NULL, CFGF_NODEFAULT),
				  CFG_STR("comment", NULL, CFGF_NODEFAULT), CFG_END()};
	cfg_opt_t plain[] = {CFG_STR("comment", NULL, CFGF_NODEFAULT), CFG_END()};
	cfg_opt_t customer[] = {CFG_STR_LIST("networks", NULL, CFGF_NODEFAULT),
				CFG_STR("comment", NULL, CFGF_NODEFAULT), CFG_END()};
	cfg_opt_t source[] = {CFG_STR_LIST("on", NULL, CFGF_NODEFAULT),
			      CFG_STR("comment", NULL, CFGF_NODEFAULT), CFG_END()};
	cfg_opt_t grant[] = {CFG_STR_LIST("ports", NULL, CFGF_NODEFAULT),
			     CFG_STR("expires", NULL, CFGF_NODEFAULT),
			     CFG_STR("comment", NULL, CFGF_NODEFAULT), CFG_END()};
	cfg_opt_t quarantine[] = {CFG_STR("expires", NULL, CFGF_NODEFAULT),
				  CFG_STR("comment", NULL, CFGF_NODEFAULT), CFG_END()};
	cfg_opt_t limit[] = {CFG_STR("warn", NULL, CFGF_NODEFAULT),
			     CFG_STR("act", NULL, CFGF_NODEFAULT),
			     CFG_STR("comment", NULL, CFGF_NODEFAULT), CFG_END()};
	_cleanup_free_ cfg_opt_t *opts = calloc(sf_key_count + SF_ENTRY_KINDS + 1, sizeof(*opts));
	size_t n = 0;
	_cleanup_free_ char *text = NULL;
	_cleanup_fclose_ FILE *stream = NULL;
	cfg_t *cfg;
	int ret;

	stream = open_without_comments(r, &text);
	if (!stream)
		return -EINVAL;
	r->text = text;
	if (!opts)
		return complain(r, 0, "no memory");
	for (size_t k = 0; k < sf_key_count; k++) {
		cfg_opt_t scalar = CFG_STR(sf_keys[k].name, NULL, CFGF_NODEFAULT);
		cfg_opt_t list = CFG_STR_LIST(sf_keys[k].name, NULL, CFGF_NODEFAULT);

		opts[n++] = sf_key_is_list(&sf_keys[k]) ? list : scalar;
	}
	for (int k = 0; k < SF_ENTRY_KINDS; k++) {
		cfg_opt_t *sub = k == SF_ENTRY_MAIL			       ? with_users
				 : k == SF_ENTRY_FENCE || k == SF_ENTRY_EXEMPT ? plain
				 : k == SF_ENTRY_CUSTOMER		       ? customer
				 : k == SF_ENTRY_ALLOW_SOURCE		       ? source
				 : k >= SF_ENTRY_LIMIT_USER		       ? limit
				 : k >= SF_ENTRY_QUARANTINE_USER	       ? quarantine
									       : grant;
		cfg_opt_t section = CFG_SEC(sf_entry_sections[k], sub, CFGF_MULTI | CFGF_TITLE);

		opts[n++] = section;
	}
	opts[n] = (cfg_opt_t)CFG_END();
	cfg = cfg_init(opts, CFGF_NONE);
	if (!cfg)
		return complain(r, 0, "no memory");
	cfg_set_error_function(cfg, on_parse_error);
	for (size_t k = 0; k < sf_key_count; k++)
		cfg_set_validate_func(cfg, sf_keys[k].name, note_key_line);
	for (int k = 0; k < SF_ENTRY_KINDS; k++)
		cfg_set_validate_func(cfg, sf_entry_sections[k], on_section);
	now_reading = r;
	if (cfg_parse_fp(cfg, stream) == CFG_SUCCESS && !r->failed)
		ret = take_keys(r, cfg);
	else
		ret = complain(r, cfg->line, "this is not understood");
	now_reading = NULL;
	cfg_free(cfg);
	return ret ? -EINVAL : 0;
}

static int read_file(struct sf_policy *policy, const char *file, int managed, int lenient,
		     struct sf_error *err)
{
	struct reading r = {
		.policy = policy, .err = err, .file = file, .managed = managed, .lenient = lenient};
	struct stat st;

	if (stat(file, &st))
		return sf_fail_usage(err, "%s: can't be read: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return sf_fail_usage(err, "%s: is not a file", file);
	return parse(&r);
}

static int check_whole(const struct sf_policy *policy, struct sf_error *err)
{
	for (uint32_t i = 0; i < policy->watch_ports.count; i++)
		for (uint32_t j = 0; j < policy->ports.count; j++)
			if (policy->watch_ports.port[i] == policy->ports.port[j])
				return sf_fail_usage(
					err,
					"%s: port %u stands in ports and in watch_ports: "
					"take it out of one",
					policy->config_file, policy->ports.port[j]);
	if (policy->guard_hosts.count && !policy->uplinks.count)
		return sf_fail_usage(err,
				     "%s: guard_hosts are guarded on the uplinks, and uplinks is "
				     "empty: name them, or take guard_hosts out",
				     policy->config_file);
	if (policy->action_hook != SF_ACTION_OFF && !policy->hook[0])
		return sf_fail_usage(err,
				     "%s: action_hook is %s, but hook names no program: set hook, "
				     "or action_hook to off",
				     policy->config_file, sf_severity_name(policy->action_hook));
	return 0;
}

/* Only what is known to be absent is left out: the mail server's right may stand in it. */
static int may_be_there(const char *file)
{
	return !access(file, F_OK) || errno != ENOENT;
}

int sf_config_read(const char *file, const char *managed, int lenient, struct sf_policy *policy,
		   struct sf_error *err)
{
	int ret;

	sf_policy_init(policy);
	snprintf(policy->config_file, sizeof(policy->config_file), "%s",
		 file ? file : SF_CONFIG_DEFAULT);
	if (file || may_be_there(policy->config_file)) {
		ret = read_file(policy, policy->config_file, 0, lenient, err);
		if (ret)
			goto out;
	}
	if (!managed)
		managed = policy->managed_file;
	if (may_be_there(managed)) {
		ret = read_file(policy, managed, 1, lenient, err);
		if (ret)
			goto out;
	}
	ret = sf_policy_settle(policy);
	if (ret) {
		sf_fail(err, ret, "no memory");
		goto out;
	}
	ret = check_whole(policy, err);
out:
	if (ret)
		sf_policy_free(policy);
	return ret;
}

int sf_config_load_with(const char *file, const char *managed, struct sf_policy *policy,
			struct sf_error *err)
{
	return sf_config_read(file, managed, 0, policy, err);
}

int sf_config_load(const char *file, struct sf_policy *policy, struct sf_error *err)
{
	return sf_config_read(file, NULL, 0, policy, err);
}
