# SPDX-License-Identifier: GPL-2.0-only
"""What the fence's hook adds to a connect(), in nanoseconds: differences, not ratios.

Four states of the same system call are compared:
  none       no connect program anywhere in the kernel;
  elsewhere  the hook is in use, but no program is on this cgroup;
  trivial    a program of two instructions on this cgroup: the floor for any fence of this kind;
  fence      smtpfence.
"""
from measure import EPERM, run_hook
from world import FENCED_PORT, OPEN_PORT

CASES = {"open": ("web", OPEN_PORT), "mail": ("mta", FENCED_PORT), "denied": ("web", FENCED_PORT)}
SLICES = 4  # a state and round


class HookCost:
    def __init__(self, samples):
        self.samples = samples
        self.slices = {}
        self.on_seconds, self.on_cpu = [], []

    def _take(self, world, state, case, **how):
        tree = world.cgroups.fenced if state == "fence" else world.cgroups.free
        who, port = CASES[case]
        samples = sorted(run_hook(world, who, port, tree, samples=self.samples, **how))
        self.slices.setdefault((state, case), []).append(samples[len(samples) // 10])

    def cost(self, state, case):
        """The best slice's tenth percentile: neighbours on the core only ever add, by hundreds.

        Medians moved by 200 ns from slice to slice on a busy machine, these by 3.
        """
        return min(self.slices[state, case])

    def added(self, case, over="none"):
        return self.cost("fence", case) - self.cost(over, case)

    def measure(self, world, fence, rounds):
        """Turns the fence on from nothing in each round; leaves it on."""
        for _ in range(rounds):
            fence.detach()
            for _ in range(SLICES):
                for case in "open", "mail":
                    self._take(world, "none", case)
            self.on_seconds.append(fence.command("on")[0])
            self.on_cpu.append(fence.cpu)
            for _ in range(SLICES):
                for case in "open", "mail":
                    self._take(world, "elsewhere", case)
                    self._take(world, "fence", case)
                self._take(world, "trivial", "open", program=1)
                self._take(world, "trivial", "denied", program=0, expect=EPERM)
                self._take(world, "fence", "denied", expect=EPERM)

    def summary(self):
        return {f"{state}_{case}_ns": round(self.cost(state, case), 1)
                for state, case in sorted(self.slices)}
