# SPDX-License-Identifier: GPL-3.0-or-later
"""A FAKE in place of a host's shell: answers for two programs what a file says, and notes what it was asked.

usage: fake_shell.py FOLDER HOST -c COMMAND; any other program is run by the real shell.
"""

import json
import os
import shlex
import sys
import time
from pathlib import Path

MIRROR, LOSSES = "updraft-mirror", "updraft-iscsi-losses"


def main() -> int:
    """Answer, or run it."""
    folder, host, *given = sys.argv[1:]
    # What Ansible adds against a race of ssh's: COMMAND && sleep 0.
    words = shlex.split(given[-1].partition(" && ")[0])
    name = Path(words[0]).name
    if name not in (MIRROR, LOSSES):
        os.execv("/bin/sh", ["/bin/sh", *given])
    with Path(folder, "asked").open("a") as log:
        print(json.dumps([host, name, words[1:]]), file=log)
    answer = json.loads(Path(folder, f"{name}.json").read_text())[host]
    now = time.time()
    more = {"began": now, "ended": now} if name == LOSSES else {"time": now}
    print(json.dumps({**more, "changed": ["promote"] if "promote" in words else [], **answer}))
    return 1 if "failed" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
