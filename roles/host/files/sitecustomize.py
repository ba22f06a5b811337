# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets Ansible's modules start sooner: what was compiled once is kept.

Ansible sends a module and what it imports, some fifty sources, as one zip archive. Python compiles each of them at
each task, and twice: once to tell its file name, once to run it. On a slow machine that is much of what a task costs.
Python reads this file at its start where PYTHONPATH names its folder; only Ansible's tasks have it there.
"""

from __future__ import annotations

import marshal
import os
import sys
import zipimport
from types import CodeType

# Root's alone: whoever could write here could run code as root. Another user's tasks compile as ever.
FOLDER = "/var/cache/updraft/python"


class Importer(zipimport.zipimporter):
    """Python's importer from zip archives, which finds compiled code by what the source says."""

    def get_filename(self, fullname: str) -> str:
        """The path of a module, without compiling it."""
        path = os.path.join(self.archive, self.prefix + fullname.rpartition(".")[2])
        return f"{path}/__init__.py" if self.is_package(fullname) else f"{path}.py"

    def get_code(self, fullname: str) -> CodeType:
        """The compiled source; kept, if it can be."""
        import hashlib

        path = self.get_filename(fullname)
        source = self.get_data(path)
        # Another version of Python has other code.
        kept = f"{FOLDER}/{sys.hexversion:x}-{hashlib.sha256(source).hexdigest()}"
        try:
            with open(kept, "rb") as stream:
                code = marshal.loads(stream.read())
            if isinstance(code, CodeType):
                return code
        except (OSError, ValueError, EOFError, TypeError):
            pass
        code = compile(source, path, "exec", dont_inherit=True)
        keep(kept, marshal.dumps(code))
        return code


def keep(path: str, data: bytes) -> None:
    """Write a file that appears whole or not at all; where that is not possible, there is none."""
    waiting = f"{path}.{os.getpid()}"
    try:
        with open(waiting, "xb") as stream:
            stream.write(data)
        os.replace(waiting, path)
    except OSError:
        pass


# What a task starts is not meant.
os.environ.pop("PYTHONPATH", None)
sys.path_hooks[:] = [Importer if hook is zipimport.zipimporter else hook for hook in sys.path_hooks]
