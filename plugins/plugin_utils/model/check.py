# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold between the parts of a cloud.yml."""

from __future__ import annotations

from .check_lab import check_lab
from .check_networks import check_networks
from .check_nodes import check_nodes
from .check_provisioning import check_provisioning
from .check_roles import check_roles
from .check_storage import check_storage
from .check_tenants import check_tenants
from .expand import Expanded
from .problems import Problems
from .types import Site


def check(site: Site, expanded: Expanded, problems: Problems) -> None:
    """Report everything that does not fit together."""
    check_networks(site, problems)
    check_roles(site, expanded, problems)
    check_nodes(site, expanded, problems)
    check_storage(site, expanded, problems)
    check_provisioning(site, expanded, problems)
    check_tenants(site, problems)
    check_lab(site, expanded, problems)
