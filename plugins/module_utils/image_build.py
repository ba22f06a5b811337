# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs what makes an image: mmdebstrap in namespaces of its own, with a log, a limit and a lock."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError

BUILD_LIMIT_SECONDS = 1800
# What a build mounts and starts ends with it, however it ends.
APART = (
    *("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc"),
    "--",
)


def bootstrap(
    command: Sequence[str], scripts: Mapping[str, str], packages: Path, log: Path, more: Mapping[str, str] | None = None
) -> None:
    """Run mmdebstrap. `command` has the placeholder SCRIPTS for the directory of its hooks, `scripts` by name.

    `packages` is the cache of packages, handed to the hooks as DEBS, as is `more`. Raises ImageError.
    """
    with tempfile.TemporaryDirectory(prefix="updraft-image-") as directory:
        for name, text in scripts.items():
            script = Path(directory, name)
            script.write_text(text)
            script.chmod(0o755)
        log.write_text("")
        logged(
            [*APART, *(word.replace("SCRIPTS", directory) for word in command)],
            log,
            {"DEBS": str(packages), "INITRD": "No", "DEBIAN_FRONTEND": "noninteractive", **(more or {})},
        )


def logged(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command with its output in the log; ImageError has the end of it when the command fails."""
    with log.open("ab") as output:
        try:
            subprocess.run(
                list(command),
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                timeout=BUILD_LIMIT_SECONDS,
                preexec_fn=_end_with_parent,
            )
        except FileNotFoundError as error:
            raise ImageError(f"{command[0]} is not installed on this computer, which makes the images") from error
        except subprocess.CalledProcessError as error:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            raise ImageError(f"{command[0]} ended with {error.returncode}; the end of {log}:\n{tail}") from error
        except subprocess.TimeoutExpired as error:
            raise ImageError(f"{command[0]} was not done after {BUILD_LIMIT_SECONDS} s; see {log}") from error


@contextmanager
def lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock of this computer; gives False when `wait` is false and somebody else has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def newest_kernel(root: Path) -> Path:
    """Return the kernel in a root file system. Raises ImageError when there is none."""
    kernels = sorted((root / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise ImageError("no kernel was installed in the image")
    return kernels[-1]


def _end_with_parent() -> None:
    """Let the kernel kill this process when the one that started it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
