// SPDX-License-Identifier: GPL-2.0-only
/* Names of rules and classes, each from its one list. */
#include "engine.h"

const char *const sf_rule_names[SF_RULE_COUNT] = {
#define X(name, label, severity, text) [SF_RULE_##name] = (label),
	SF_RULES(X)
#undef X
};

const char *const sf_class_names[SF_CLASS_COUNT] = {
#define X(name, label, text) [SF_CLASS_##name] = (label),
	SF_CLASSES(X)
#undef X
};
