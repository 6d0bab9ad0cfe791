// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fence's tables alone, without a program: made first, so that the objects that look into them
 * can be loaded side by side.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../maps/settings.h"
#include "../maps/roles.h"
#include "../maps/senders.h"
#include "../maps/nets.h"
#include "../maps/counters.h"
#include "../maps/events.h"
#include "../maps/judged.h"
#include "../maps/limits.h"
