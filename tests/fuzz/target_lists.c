// SPDX-License-Identifier: GPL-2.0-only
/*
 * The words of commands and lists: keys (`set KEY=VALUE`), networks, host names, ids, durations,
 * times. Each line is one: KIND WORD. What is accepted means the same when it is written back.
 */
#include "fuzz.h"
#include "../../user/policy.h"
#include "../../user/cgroup.h"

static void check_net(const char *word)
{
	struct sf_net_key net, again, of_list;
	struct sf_error err = {.code = 0}, list_err = {.code = 0};
	size_t at = 0;
	char text[64];
	int ret = sf_net_parse(word, &net, &err);

	PROPERTY(ret ? err.code < 0 && fuzz_is_clean(err.text) : !err.code);
	if (*word && !strchr(word, ',')) {
		PROPERTY(sf_next_net(word, &at, &of_list, &list_err) == 1);
		PROPERTY(!list_err.code == !ret && !word[at]);
		PROPERTY(ret || !memcmp(&net, &of_list, sizeof(net)));
	}
	if (ret)
		return;
	PROPERTY(net.family == SF_FAMILY_V4 || net.family == SF_FAMILY_V6);
	PROPERTY(net.prefixlen >= SF_NET_FAMILY_BITS && net.prefixlen <= SF_NET_BITS_MAX);
	PROPERTY(sf_net_covers(&net, &net));
	sf_net_format(&net, text, sizeof(text));
	PROPERTY(!sf_net_parse(text, &again, NULL) && !memcmp(&net, &again, sizeof(net)));
	for (uint32_t bits = SF_NET_FAMILY_BITS; bits <= net.prefixlen; bits++) {
		struct sf_net_key wide = sf_net_wider(&net, bits);

		PROPERTY(sf_net_covers(&wide, &net));
		PROPERTY(bits == net.prefixlen || !sf_net_covers(&net, &wide));
		if (net.family == SF_FAMILY_V4 && bits < SF_NET_FAMILY_BITS + 96)
			continue;
		/* What lies beyond its prefix is clear, or it would be no network. */
		sf_net_format(&wide, text, sizeof(text));
		PROPERTY(!sf_net_parse(text, &again, NULL) && !memcmp(&wide, &again, sizeof(wide)));
	}
}

static void check_key(const char *name, const char *word)
{
	int k = sf_key_find(name);
	static struct sf_policy fresh, *policy, *same; /* large, and slow to make */
	struct sf_error err = {.code = 0};
	char text[4096], again[4096];

	(void)sf_key_guess(name);
	if (!policy) {
		sf_policy_init(&fresh);
		policy = malloc(sizeof(fresh));
		same = malloc(sizeof(fresh));
	}
	if (k >= 0 && policy && same) {
		*policy = *same = fresh;
		if (sf_key_set(policy, &sf_keys[k], word, &err)) {
			PROPERTY(err.text[0] && fuzz_is_clean(err.text));
			sf_key_get(policy, &sf_keys[k], text, sizeof(text));
			sf_key_get(same, &sf_keys[k], again, sizeof(again));
			PROPERTY(!strcmp(text, again)); /* a refusal changes nothing */
		} else {
			sf_key_get(policy, &sf_keys[k], text, sizeof(text));
			if (sf_key_set(same, &sf_keys[k], text, &err))
				fuzz_violated(name, k, err.text);
			sf_key_get(same, &sf_keys[k], again, sizeof(again));
			PROPERTY(!strcmp(text, again));
		}
	}
}

static void check_entry(int kind, const char *word, const char *list)
{
	struct sf_entry entry = {.kind = (enum sf_entry_kind)kind};
	struct sf_error err = {.code = 0};
	char *names = list ? strdup(list) : NULL, value[SF_NAME_MAX];
	struct sf_policy policy = {.entries = NULL};
	int ret;

	entry.user_names = names;
	snprintf(entry.value, sizeof(entry.value), "%s", word);
	ret = sf_entry_resolve(&entry, &err);
	PROPERTY(!ret || (err.text[0] && fuzz_is_clean(err.text)));
	PROPERTY(entry.user_count <= SF_ROLE_USERS_MAX);
	for (uint32_t i = 1; i < entry.user_count && !ret; i++)
		PROPERTY(entry.users[i - 1] <= entry.users[i]);
	if (!ret) { /* as it stands in the file it means the same */
		memcpy(value, entry.value, sizeof(value));
		PROPERTY(!sf_entry_resolve(&entry, &err) && !strcmp(value, entry.value));
	}
	if (!ret && !sf_policy_put(&policy, &entry)) {
		names = NULL;
		PROPERTY(sf_policy_find(&policy, entry.kind, entry.value));
	}
	free(names);
	sf_policy_free(&policy);
}

static void check_time(const char *word)
{
	int64_t seconds = 0, again;
	char text[64];

	if (!sf_duration_parse(word, &seconds))
		PROPERTY(seconds > 0 && seconds <= 100LL * 365 * 86400);
	if (sf_time_parse(word, &seconds))
		return;
	PROPERTY(seconds > 0);
	sf_time_format(seconds, text, sizeof(text));
	PROPERTY(!sf_time_parse(text, &again) && again == seconds && !strcmp(text, word));
}

static void check_line(char *line)
{
	char *word = strchr(line, ' '), *list;

	if (!word)
		return;
	*word++ = '\0';
	if (!strcmp(line, "net")) {
		check_net(word);
	} else if (!strcmp(line, "time")) {
		check_time(word);
	} else if (!strcmp(line, "cgroup")) {
		const char *fault = sf_cgroup_path_fault(word);

		PROPERTY(fault || (word[0] == '/' && strlen(word) <= SF_PATH_LIMIT));
	} else if (!strncmp(line, "entry", 5)) {
		list = strchr(word, ' ');
		if (list)
			*list++ = '\0';
		check_entry(atoi(line + 5) % SF_ENTRY_KINDS, word, list);
	} else {
		check_key(line, word);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_string((struct fuzz_part){data, size}), *save = NULL;
	int lines = 0;

	for (char *line = strtok_r(text, "\n", &save); line && lines < 16;
	     line = strtok_r(NULL, "\n", &save), lines++)
		check_line(line);
	free(text);
	return 0;
}
