# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts have reported for service, and which are still awaited. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Units whose journal tells why a host does not report, by what it is awaited for.
UNITS = {
    "compute": "nova-compute",
    "volume": "cinder-volume",
    "backup": "cinder-backup",
    "network": "ovn-controller",
    "cell": "nova-compute",
}


@dataclass(frozen=True, slots=True)
class Missing:
    """A host that is awaited as `service`, and what is known of it."""

    host: str
    service: str
    reason: str

    def __str__(self) -> str:
        return f"{self.host} as {self.service} ({self.reason})"


def is_fresh(updated: str | None, now: datetime.datetime, seconds: int) -> bool:
    """Say whether a service's last report is at most so old. Times are UTC without a zone, as the APIs give them."""
    if not updated:
        return False
    return now - datetime.datetime.fromisoformat(updated.rstrip("Z")) <= datetime.timedelta(seconds=seconds)


def missing(
    kind: str, wanted: Iterable[str], reports: Sequence[Mapping[str, Any]], now: datetime.datetime, seconds: int = 90
) -> list[Missing]:
    """Return who is missing: never seen, down, switched off, or not heard of for long."""
    by_host = {report["host"].split("@")[0]: report for report in reports}
    result = []
    for host in wanted:
        report = by_host.get(host)
        if report is None:
            result.append(Missing(host, kind, "it has not reported yet"))
        elif report.get("state") != "up":
            result.append(Missing(host, kind, f"it is down, last heard of at {report.get('updated_at')}"))
        elif not is_fresh(report.get("updated_at"), now, seconds):
            result.append(Missing(host, kind, f"last heard of at {report.get('updated_at')}"))
    return result


def missing_agents(wanted: Iterable[str], agents: Sequence[Mapping[str, Any]]) -> list[Missing]:
    """Return the hosts on which the network's controller is not alive."""
    alive = {agent["host"] for agent in agents if agent["alive"] and agent["agent_type"].startswith("OVN Controller")}
    return [Missing(host, "network", "its controller is not alive") for host in wanted if host not in alive]


def unmapped(wanted: Iterable[str], hypervisors: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the compute hosts that no cell knows yet."""
    known = {item.get("service", {}).get("host") for item in hypervisors}
    return [host for host in wanted if host not in known]


def journals(awaited: Iterable[Missing], machines: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Return where to read why somebody did not come: `host`, `unit` and `reason`.

    `machines` are those of a name that is no machine, such as the volume service of a mirror.
    """
    return [
        {"host": host, "unit": UNITS[item.service], "reason": item.reason}
        for item in awaited
        for host in machines.get(item.host, [item.host])
    ]
