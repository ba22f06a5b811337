# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the pages of docs/ that follow from the code: what cloud.yml takes, and what listens where.

PYTHONPATH=src:. .updraft/venv/bin/python -m updraft.reference
"""

from __future__ import annotations

import json

from ansible_collections.updraft.cloud.plugins.plugin_utils.model import reference
from ansible_collections.updraft.cloud.plugins.plugin_utils.model.schema import json_schema

from .site import ROOT

DOCS = ROOT / "docs"


def pages() -> dict[str, str]:
    """The text of each page by the name of its file in docs/."""
    return {
        "cloud.schema.json": json.dumps(json_schema(), indent=2) + "\n",
        "cloud-yml.md": reference.keys(),
        "ports.md": reference.ports(),
    }


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
