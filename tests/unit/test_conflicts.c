// SPDX-License-Identifier: GPL-2.0-only
/* Other tools' settings, from their files; firewall rules, from texts that nft and iptables print.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>
#include "tree.h"
#include "../../user/capture.h"
#include "../../user/conflicts.h"

static struct sf_conflict list[SF_CONFLICTS_MAX];
static size_t count;

static void find(size_t wanted)
{
	struct sf_error err = {};

	count = 99;
	assert_int_equal(sf_conflicts_find(tree_root, list, SF_CONFLICTS_MAX, &count, &err), 0);
	assert_int_equal(count, wanted);
}

static void rules(const char *nft, const char *ip4, const char *ip6, size_t wanted)
{
	count = 0;
	assert_int_equal(sf_conflicts_rules(nft, ip4, ip6, list, SF_CONFLICTS_MAX, &count), 0);
	if (count != wanted)
		for (size_t i = 0; i < count; i++)
			print_error("%s: %s: %s\n", list[i].tool, list[i].what, list[i].where);
	assert_int_equal(count, wanted);
}

#define HAS(text, part) assert_non_null(strstr(text, part))

static void csf(void **state)
{
	(void)state;
	find(0);
	tree_file("/etc/csf/csf.conf", "# SMTP_BLOCK = \"1\"\nSMTP_BLOCK = \"0\"\nSMTP_BLOCKER = "
				       "\"1\"\nSMTP_REDIRECT = \"1\"\n");
	find(0);
	tree_file("/etc/csf/csf.conf",
		  "TESTING = \"1\"\nSMTP_BLOCK = \"1\"\nSMTP_ALLOWLOCAL = \"1\"\n");
	find(1);
	assert_string_equal(list[0].tool, "CSF");
	assert_string_equal(list[0].where, "/etc/csf/csf.conf: SMTP_BLOCK = 1");
	HAS(list[0].mend, "SMTP_BLOCK = \"0\"");
	tree_file("/etc/csf/csf.disable", "");
	find(0);
}

static void asl(void **state)
{
	(void)state;
	tree_file("/etc/asl/config", "FW_OUTPUT_MTA=\"no\"\n");
	find(0);
	tree_file("/etc/asl/config", "  FW_OUTPUT_MTA=\"yes\"\n");
	find(1);
	assert_string_equal(list[0].tool, "ASL");
	/* The last one counts. */
	tree_file("/etc/asl/config", "FW_OUTPUT_MTA=\"yes\"\nFW_OUTPUT_MTA='off'\n");
	find(0);
}

static void imunify(void **state)
{
	static const char own[] = "/etc/sysconfig/imunify360/imunify360.config";

	(void)state;
	tree_file(own, "FIREWALL:\n  enable: true\nSMTP_BLOCKING:\n  allow_groups:\n  - mail\n"
		       "  enable: false\nWEBSHIELD:\n  enable: true\n");
	find(0);
	tree_file(own, "SMTP_BLOCKING:\n  allow_groups:\n  - mail\n\n  # why\n  enable: true\n");
	find(1);
	assert_string_equal(list[0].tool, "Imunify360");
	HAS(list[0].where, own);
	/* The merged file says what really holds. */
	tree_file("/etc/sysconfig/imunify360/imunify360-merged.config",
		  "SMTP_BLOCKING:\n  enable: false\n");
	find(0);
	tree_file("/etc/sysconfig/imunify360/imunify360-merged.config",
		  "OTHER:\n  enable: false\n");
	find(1);
}

static void cpanel_and_all_at_once(void **state)
{
	struct sf_conflict two[2];

	(void)state;
	tree_file("/var/cpanel/smtpgidonlytweak", "");
	find(1);
	assert_string_equal(list[0].tool, "cPanel");
	tree_file("/etc/csf/csf.conf", "SMTP_BLOCK = \"1\"\n");
	tree_file("/etc/asl/config", "FW_OUTPUT_MTA=\"yes\"\n");
	find(3);
	count = 0;
	assert_int_equal(sf_conflicts_find(tree_root, two, 2, &count, NULL), 0);
	assert_int_equal(count, 2);
}

static void hostile_values(void **state)
{
	char noise[70000];

	(void)state;
	tree_file("/etc/csf/csf.conf", "SMTP_BLOCK = \"\x1b[2J%n\xff\"\n");
	find(1);
	HAS(list[0].where, "\\x1b[2J%n\\xff");
	memset(noise, 'A', sizeof(noise));
	tree_bytes("/etc/csf/csf.conf", noise, sizeof(noise));
	memset(noise, 0, sizeof(noise));
	tree_bytes("/etc/asl/config", noise, sizeof(noise));
	find(0);
	/* A fifo must not stop us. */
	unlink(tree_path("/etc/asl/config"));
	assert_int_equal(mkfifo(tree_path("/etc/asl/config"), 0600), 0);
	find(0);
}

static const char nft_text[] =
	"table inet f {\n"
	"	set smtp {\n"
	"		type inet_service\n"
	"		flags interval\n"
	"		elements = { 22, 80,\n"
	"			     465, 580-590 }\n"
	"	}\n"
	"\n"
	"	set web {\n"
	"		type inet_service\n"
	"		elements = { 80, 443 }\n"
	"	}\n"
	"\n"
	"	chain deny {\n"
	"		counter packets 0 bytes 0 reject with tcp reset comment \"x } tcp dport "
	"25\"\n"
	"	}\n"
	"\n"
	"	chain out {\n"
	"		type filter hook output priority 0; policy accept;\n"
	"		tcp dport @smtp meta skuid != 0 jump deny\n"
	"		tcp dport @web drop\n"
	"	}\n"
	"\n"
	"	chain fwd {\n"
	"		type filter hook forward priority 0; policy accept;\n"
	"		socket cgroupv2 level 1 \"user.slice\" tcp dport { 25, 587 } drop\n"
	"		tcp dport vmap { 25 : drop, 80 : accept }\n"
	"	}\n"
	"\n"
	"	chain in {\n"
	"		type filter hook input priority 0; policy accept;\n"
	"		tcp dport 25 drop\n"
	"	}\n"
	"}\n";

static void nft_rules(void **state)
{
	(void)state;
	rules(nft_text, NULL, NULL, 2);
	assert_string_equal(list[0].tool, "nftables");
	HAS(list[0].what, "denies outgoing");
	HAS(list[0].where, "table inet f, chain out: tcp dport @smtp meta skuid != 0 jump deny");
	HAS(list[1].what, "denies forwarded");
	HAS(list[1].what, "(2 rules)");
	HAS(list[1].where, "chain fwd: socket cgroupv2");
	HAS(list[1].where, "\\\"user.slice\\\"");
}

static void nft_rule(const char *rule, size_t wanted)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "table ip t {\n\tmap m {\n\t\ttype inet_service : verdict\n\t\telements = { 25 : "
		 "drop }\n\t}\n\tchain c {\n\t\ttype filter hook output priority 0; policy "
		 "accept;\n\t\t%s\n\t}\n}\n",
		 rule);
	rules(text, NULL, NULL, wanted);
}

static void nft_neighbours(void **state)
{
	(void)state;
	nft_rule("tcp dport 25 drop", 1);
	nft_rule("tcp dport smtp drop", 1);
	nft_rule("th dport 465 reject", 1);
	nft_rule("tcp dport 20-30 drop", 1);
	nft_rule("tcp dport { 1-24, 26, 587 } drop", 1);
	nft_rule("tcp dport vmap @m", 1);
	nft_rule("tcp dport 25 redirect to :2525", 1);
	nft_rule("meta l4proto tcp tcp dport 25 counter packets 5 bytes 25 queue to 1", 1);
	nft_rule("tcp dport 24 drop", 0);
	nft_rule("tcp dport 26-464 drop", 0);
	nft_rule("tcp dport { 80, 443 } drop", 0);
	nft_rule("tcp dport != 25 drop", 0);
	nft_rule("udp dport 25 drop", 0);
	nft_rule("tcp sport 25 drop", 0);
	nft_rule("tcp dport 25 accept", 0);
	nft_rule("tcp dport 25 counter packets 1 bytes 60", 0);
	nft_rule("drop", 0);
	nft_rule("log prefix \"tcp dport 25 drop\"", 0);
	nft_rule("tcp dport 250 drop", 0);
	nft_rule("tcp dport @gone drop", 0);
}

static const char save[] =
	"# Generated by iptables-save v1.8.9 (nf_tables)\n"
	"*filter\n"
	":INPUT ACCEPT [0:0]\n"
	":FORWARD ACCEPT [0:0]\n"
	":OUTPUT ACCEPT [0:0]\n"
	":SMTPOUTPUT - [0:0]\n"
	"-A INPUT -p tcp -m tcp --dport 25 -j DROP\n"
	"-A FORWARD -p tcp -m tcp --dport 20:30 -j DROP\n"
	"-A OUTPUT -p tcp -m multiport --dports 25,465,587 -j SMTPOUTPUT\n"
	"-A SMTPOUTPUT -m owner --uid-owner 0 -j ACCEPT\n"
	"-A SMTPOUTPUT -m comment --comment \"a \\\"q\\\" --dport 25\" -j REJECT\n"
	"COMMIT\n"
	"*nat\n"
	":OUTPUT ACCEPT [0:0]\n"
	"-A OUTPUT -p tcp -m tcp --dport 25 -j REDIRECT\n"
	"COMMIT\n";

static void iptables_rules(void **state)
{
	(void)state;
	rules(NULL, save, NULL, 3);
	HAS(list[0].what, "denies forwarded");
	HAS(list[0].where, "table filter, chain FORWARD: -A FORWARD");
	HAS(list[1].what, "denies outgoing");
	HAS(list[1].where, "--dports 25,465,587 -j SMTPOUTPUT");
	HAS(list[2].what, "redirects outgoing");
	HAS(list[2].where, "table nat, chain OUTPUT");
	rules(NULL, NULL, save, 3);
	assert_string_equal(list[0].tool, "ip6tables");
}

static void iptables_rule(const char *rule, size_t wanted)
{
	char text[1024];

	snprintf(text, sizeof(text), "*filter\n:OUTPUT ACCEPT [0:0]\n:OWN - [0:0]\n%s\nCOMMIT\n",
		 rule);
	rules(NULL, text, NULL, wanted);
}

static void iptables_neighbours(void **state)
{
	(void)state;
	iptables_rule("-A OUTPUT -p tcp --dport 587 -j REJECT --reject-with tcp-reset", 1);
	iptables_rule("-A OUTPUT -p tcp -m multiport --dports 80,440:470 -j DROP", 1);
	iptables_rule("-A OUTPUT -j OWN\n-A OWN -p tcp --dport 25 -j DROP", 1);
	iptables_rule("-A OWN -p tcp --dport 25 -j DROP", 0); /* nobody comes here */
	iptables_rule("-A OUTPUT -p tcp ! --dport 25 -j DROP", 0);
	iptables_rule("-A OUTPUT -p udp -m udp --dport 25 -j DROP", 0);
	iptables_rule("-A OUTPUT -p tcp --sport 25 -j DROP", 0);
	iptables_rule("-A OUTPUT -p tcp --dport 25 -j ACCEPT", 0);
	iptables_rule("-A OUTPUT -p tcp --dport 25 -j LOG --log-prefix \"x -j DROP\"", 0);
	iptables_rule("-A OUTPUT -p tcp --dport 250 -j DROP", 0);
	iptables_rule("-A OUTPUT -j OWN\n-A OWN -j OUTPUT\n-A OWN -p tcp --dport 25 -j DROP", 1);
}

/* iptables-nft keeps its rules in nftables as well: they are told once. */
static void told_once(void **state)
{
	static const char twin[] =
		"table ip filter {\n\tchain OUTPUT {\n\t\ttype filter hook output "
		"priority 0; policy accept;\n\t\ttcp dport 25 drop\n\t}\n}\n";
	static const char same[] =
		"*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp --dport 25 -j DROP\n";

	(void)state;
	rules(twin, same, NULL, 1);
	assert_string_equal(list[0].tool, "iptables");
	rules(twin, NULL, same, 2);
	rules(twin, NULL, NULL, 1);
}

static void broken_texts(void **state)
{
	static const char *const broken[] = {
		"",
		"\n\n",
		"}",
		"{",
		"table",
		"table x",
		"table ip t {",
		"table ip t {\nchain\n",
		"table ip t {\nchain c {\ntype filter hook\ntcp dport\njump\n",
		"table ip t {\nset s {\nelements = {\n",
		"*",
		":",
		":OUTPUT",
		"-A",
		"-A OUTPUT",
		"-A OUTPUT -p",
		"-A OUTPUT --dport",
		"-A OUTPUT -j",
		"\"",
		"*filter\n:OUTPUT\n-A OUTPUT \"",
	};
	char *big;
	size_t used = 0, room = 4 << 20;

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		rules(broken[i], broken[i], broken[i], 0);
	/* Every beginning of a good text. */
	for (size_t i = 0; i < sizeof(nft_text); i++) {
		char part[sizeof(nft_text)];

		snprintf(part, i + 1, "%s", nft_text);
		count = 0;
		assert_int_equal(sf_conflicts_rules(part, part, NULL, list, 4, &count), 0);
	}
	/* More chains than are looked at: said, in bounded time. */
	big = malloc(room);
	assert_non_null(big);
	used += (size_t)sprintf(big, "*filter\n:OUTPUT ACCEPT [0:0]\n");
	for (int i = 0; i < 40000; i++)
		used += (size_t)sprintf(big + used, "-A OUTPUT -p tcp --dport 25 -j CHAIN%d\n", i);
	assert_true(used < room);
	rules(NULL, big, NULL, 1);
	HAS(list[0].what, "more rules than are looked at");
	used = (size_t)sprintf(big, "*filter\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT ");
	memset(big + used, 'x', 100000);
	strcpy(big + used + 100000, "\n-A OUTPUT -p tcp --dport 25 -j DROP\n");
	rules(NULL, big, NULL, 1);
	free(big);
}

static long elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

static void capture(void **state)
{
	static const char *const echo[] = {"echo", "-n", "$HOME; \"x\"", NULL};
	static const char *const env[] = {"env", NULL};
	static const char *const empty[] = {"true", NULL};
	static const char *const fails[] = {"false", NULL};
	static const char *const none[] = {"no-such-program", NULL};
	static const char *const slow[] = {"sleep", "30", NULL};
	static const char *const quiet[] = {"sh", "-c", "exec >&-; sleep 30", NULL};
	static const char *const left[] = {"sh", "-c", "sleep 30 & echo x", NULL};
	static const char *const endless[] = {"yes", NULL};
	struct timespec start;
	char *text = NULL;

	(void)state;
	assert_int_equal(sf_capture(echo, 3000, 4096, &text), 0);
	assert_string_equal(text, "$HOME; \"x\""); /* no shell */
	free(text);
	text = NULL;
	setenv("LD_PRELOAD_OF_A_TEST", "x", 1);
	assert_int_equal(sf_capture(env, 3000, 4096, &text), 0);
	assert_null(strstr(text, "LD_PRELOAD_OF_A_TEST"));
	free(text);
	text = NULL;
	assert_int_equal(sf_capture(empty, 3000, 4096, &text), 0);
	assert_string_equal(text, "");
	free(text);
	text = NULL;
	assert_int_equal(sf_capture(fails, 3000, 4096, &text), -EIO);
	assert_int_equal(sf_capture(none, 3000, 4096, &text), -ENOENT);
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(sf_capture(slow, 100, 4096, &text), -ETIMEDOUT);
	assert_int_not_equal(sf_capture(quiet, 100, 4096, &text), 0);
	assert_int_equal(sf_capture(left, 100, 4096, &text), -ETIMEDOUT);
	assert_int_equal(sf_capture(endless, 3000, 1 << 20, &text), -EFBIG);
	assert_true(elapsed_ms(&start) < 5000);
	assert_null(text);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(csf),
		TEST(asl),
		TEST(imunify),
		TEST(cpanel_and_all_at_once),
		TEST(hostile_values),
		cmocka_unit_test(nft_rules),
		cmocka_unit_test(nft_neighbours),
		cmocka_unit_test(iptables_rules),
		cmocka_unit_test(iptables_neighbours),
		cmocka_unit_test(told_once),
		cmocka_unit_test(broken_texts),
		cmocka_unit_test(capture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
