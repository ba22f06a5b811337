# SPDX-License-Identifier: GPL-3.0-or-later
"""The typed model of a cloud: cloud.yml in, checked and derived variables out. No Ansible needed."""

from __future__ import annotations

from .derive import Derived, derive
from .load import Loaded, ModelError, load
from .problems import Problem
from .schema import json_schema
from .types import ROLES, SERVICES, Site

__all__ = [
    "ROLES",
    "SERVICES",
    "Derived",
    "Loaded",
    "ModelError",
    "Problem",
    "Site",
    "derive",
    "json_schema",
    "load",
]
