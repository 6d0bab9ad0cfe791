// SPDX-License-Identifier: GPL-2.0-only
/*
 * smtpfence: the table of commands, and the options that stand before them.
 */
#include "cli.h"
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>

const struct sf_command sf_commands[] = {
	{"on", "[--kill] [--rollback TIME | --confirm]",
	 "enforce: only the mail server opens SMTP connections", cmd_on},
	{"off", "", "detach the fence; everybody may connect", cmd_off},
	{"monitor", "[--rollback TIME]", "allow, and count and report what would be denied",
	 cmd_monitor},
	{"status", "", "what the kernel really does now", cmd_status},
	{"set", "KEY=VALUE", "set a key, keep it and apply it", cmd_set},
	{"get", "KEY", "show a key's value", cmd_get},
	{"mail", "cgroup|unit NAME [--user U,..] [--comment TEXT]",
	 "this cgroup subtree is the mail server", cmd_role},
	{"fence", "cgroup|unit NAME [--comment TEXT]", "this cgroup subtree is fenced", cmd_role},
	{"exempt", "cgroup|unit NAME [--comment TEXT]", "this cgroup subtree is not fenced",
	 cmd_role},
	{"allow",
	 "user|group|net|host|source VALUE [--port N,..] [--ttl TIME] [--on INTERFACE,..] "
	 "[--comment TEXT]",
	 "allow a sender, a destination, or a customer's source", cmd_allow},
	{"quarantine", "user|cgroup|net VALUE [--ttl TIME] [--comment TEXT]",
	 "deny a sender whatever else would allow it", cmd_quarantine},
	{"limit", "user|cgroup|net VALUE --warn N --act N [--comment TEXT]",
	 "a sender's own limits on connections in 10 minutes", cmd_limit},
	{"gateway", "add|remove|list [INTERFACE|PATTERN] [--net NET,..] [--comment TEXT]",
	 "interfaces behind which customers are: only mail_hosts send mail", cmd_gateway},
	{"remove", "KIND VALUE", "take an entry out (mail cgroup X, allow user Y, ...)",
	 cmd_remove},
	{"list", "", "the entries in force", cmd_list},
	{"apply", "[--dry-run] [--boot]", "make the kernel match the files; say the difference",
	 cmd_apply},
	{"check", "", "check the files only", cmd_check},
	{"events", "[--follow] [--since TIME]", "denied connections, as the daemon recorded them",
	 cmd_events},
	{"history", "WHO [--since TIME]", "what a sender did by the hour or day, and its alarms",
	 cmd_history},
	{"report", "WHO [--since TIME] [--format text|json|html] [--output FILE]",
	 "all that is known of a sender, as an abuse ticket", cmd_report},
	{"replay",
	 "FILE [--mail NET|CGROUP] [--learn TIME] [--ports N,..] [--warn N] [--act N] "
	 "[--hour-warn N] [--hour-act N] [--distinct N] [--newcomer N] [--crowd N] "
	 "[--cooldown TIME] [--senders N]",
	 "run the detection on a capture or CSV trace, print its alerts", cmd_replay},
	{"sources", "[--since TIME] [--sort FIGURE] [--limit N]",
	 "who opens connections through the uplinks, by address", cmd_census},
	{"senders", "[--since TIME] [--sort FIGURE] [--limit N]",
	 "who opens connections, by user and cgroup", cmd_census},
	{"top", "[--sort FIGURE] [--once]", "the busiest senders and sources, live", cmd_top},
	{"test", "", "try real connections from a throw-away cgroup", cmd_test},
	{"doctor", "", "is this host fit, and is anything in the way", cmd_doctor},
	{NULL, NULL, NULL, NULL},
};

static void print_help(FILE *out)
{
	fputs("smtpfence: only the mail server opens SMTP connections\n\n"
	      "Usage: smtpfence [--config FILE] [--json] COMMAND [ARGUMENTS]\n\nCommands:\n",
	      out);
	for (const struct sf_command *c = sf_commands; c->name; c++)
		fprintf(out, "  %s %s\n      %s\n", c->name, c->usage, c->help);
	fputs("\nOptions: -c, --config FILE; -j, --json; -h, --help; -V, --version\n"
	      "TIME is a number with s, m, h, d or w.\n"
	      "Exit status: 0 done; 1 failed; 2 usage or configuration error; 3 status: not "
	      "enforcing;\n"
	      "4 status: enforcing, but a part of the policy is not in effect.\n",
	      out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	struct sf_cli cli = {.config_file = NULL};
	int option;

	setlocale(LC_CTYPE, "C.UTF-8"); /* escaped text is UTF-8, whatever the shell says */
	/* '+': options after the command are the command's. */
	while ((option = getopt_long(argc, argv, "+c:jhV", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			cli.config_file = optarg;
			break;
		case 'j':
			cli.json = 1;
			break;
		case 'h':
			print_help(stdout);
			return SF_EXIT_OK;
		case 'V':
			puts("smtpfence " SF_VERSION);
			return SF_EXIT_OK;
		default:
			fputs("Try smtpfence --help.\n", stderr);
			return SF_EXIT_USAGE;
		}
	}
	if (optind == argc) {
		print_help(stderr);
		return SF_EXIT_USAGE;
	}
	argc -= optind;
	argv += optind;
	optind = 0; /* 0, not 1: getopt starts anew, with the command's own rules */
	/* --json may stand behind the command too: people write it there. */
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json"))
			continue;
		cli.json = 1;
		memmove(&argv[i], &argv[i + 1], (size_t)(argc - i) * sizeof(*argv));
		argc--;
		i--;
	}
	for (const struct sf_command *c = sf_commands; c->name; c++) {
		if (strcmp(c->name, argv[0]))
			continue;
		if (argc == 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
			printf("smtpfence %s %s\n%s\n", c->name, c->usage, c->help);
			return SF_EXIT_OK;
		}
		return c->run(&cli, argc, argv);
	}
	return cli_usage(&cli, "no command \"%.40s\"; try smtpfence --help", argv[0]);
}
