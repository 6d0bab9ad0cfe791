# SPDX-License-Identifier: GPL-2.0-only
"""A library that is loaded before others, to forge what a test can't have from this kernel."""

import os
import subprocess

from lab import Skip


def use(lab, name, text, **environment):
    """Compile it; from now on all that this test starts has it, and these variables."""
    source, library = f"{lab.dir}/{name}.c", f"{lab.dir}/{name}.so"
    with open(source, "w") as f:
        f.write(text)
    try:
        done = subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source],
                              capture_output=True, text=True, timeout=30)
    except FileNotFoundError:
        raise Skip("needs a compiler") from None
    if done.returncode:
        raise RuntimeError(done.stderr)
    os.environ.update(LD_PRELOAD=library, **environment)
