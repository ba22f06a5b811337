# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the registrar for the machines that registered, and keeps its answer in the site's folder.

.updraft/<site>/registrar.json         the registrar was up once: from then on its silence is a fault
                registered.json        its last answer, for `unreachable: cache`
                known_hosts.registered the host keys that were approved

A site that was never built has no registrar yet, which is no fault: nothing is on record then. It is
asked all the same, since another checkout may have built the site.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.updraft.cloud.plugins.module_utils.registrar_client import (
    Registrar,
    RegistrarError,
    Unreachable,
    patiently,
)

from .model.connection import REGISTERED_HOSTS
from .model.expand import Expanded
from .model.provisioning import provisioning
from .model.registration import Registration, registrations
from .model.types import Site

RECORD, CACHE = "registrar.json", "registered.json"

#: In the environment: `cache` takes the last answer if there is none now, whatever cloud.yml says;
#: `off` takes the last answer without asking.
VARIABLE = "UPDRAFT_REGISTRAR"

#: Seconds for one answer; how long a registrar that was there once is waited for; and one that never was.
TIMEOUT, PATIENCE, GLANCE = 20.0, 12.0, 3.0

Secrets = Mapping[str, Any]


class RegistryError(Exception):
    """The machines that registered cannot be told; the text says what was tried and what to do."""


@dataclass(slots=True)
class Answer:
    """The machines that registered. warning: what the person has to know about it."""

    found: list[Registration] = field(default_factory=list)
    warning: str = ""


def registered(site: Site, expanded: Expanded, state: Path, secrets: Callable[[], Secrets]) -> Answer:
    """The machines that registered at a site. state: its folder; secrets: its `cloud_secrets`, {} if there are none.

    Raises RegistryError when the registrar has to answer and does not.
    """
    if site.provisioning is None:
        return Answer()
    mode = os.environ.get(VARIABLE, "")
    if mode not in ("", "cache", "off"):
        raise RegistryError(f"{VARIABLE}={mode}: is cache or off")
    if mode == "off":
        return kept(state) or Answer()
    known = (state / RECORD).is_file()
    try:
        client = connect(site, expanded, secrets(), timeout=TIMEOUT if known else GLANCE)
        hosts = patiently(client.listing, PATIENCE if known else 0)["hosts"]
        answer = Answer(registrations(hosts))
    except Unreachable as error:
        return _unanswered(site, state, str(error), known=known, cached=mode == "cache")
    except (RegistrarError, ValueError) as error:
        raise RegistryError(f"registrar: {error}") from error
    _keep(state, client.url, hosts, answer.found, site.domain)
    return answer


def connect(site: Site, expanded: Expanded, secrets: Secrets, *, timeout: float = TIMEOUT) -> Registrar:
    """The client of a site's registrar. Raises Unreachable when the site lacks what it takes to log in."""
    told = provisioning(site, expanded)
    password, authority = secrets.get("registrar_operator_password"), secrets.get("ca_certificate")
    if told is None:
        raise Unreachable("the site has no registrar: its cloud.yml has no section `provisioning`")
    if not password or not authority:
        raise Unreachable(f"{told['url']}: the site has no password for it yet; './updraft secrets' makes it")
    return Registrar(
        told["url"],
        str(password),
        ca=str(authority),
        address=told["address"],
        namespace=site.lab.namespace if site.lab else None,
        timeout=timeout,
    )


def _unanswered(site: Site, state: Path, reason: str, *, known: bool, cached: bool) -> Answer:
    """What is made of a registrar that is silent, as the site chooses."""
    if not known:
        return Answer()  # it has never been there: the site is being built
    last_answer = kept(state) if cached or (site.provisioning and site.provisioning.unreachable == "cache") else None
    if last_answer is not None:
        last_answer.warning = f"the registrar does not answer ({reason}); {last_answer.warning}"
        return last_answer
    lack = "" if (state / CACHE).is_file() else " (there is no last answer)"
    raise RegistryError(
        f"the registrar does not answer: {reason}. It was asked for {PATIENCE:.0f} s. "
        "The machines that registered cannot be told without it. On the provisioning node, look at "
        "'systemctl status updraft-registrar' and 'journalctl -u updraft-registrar'. To go on with its last answer"
        f"{lack}, once: {VARIABLE}=cache in the environment; always: provisioning.unreachable: cache in cloud.yml."
    )


def last(state: Path) -> list[Registration]:
    """The machines of the last answer; none if there was none."""
    answer = kept(state)
    return answer.found if answer else []


def kept(state: Path) -> Answer | None:
    """The last answer, if there is one."""
    try:
        text = json.loads((state / CACHE).read_text(encoding="utf-8"))
        hosts = registrations(text["hosts"])
        age = time.time() - datetime.fromisoformat(text["asked"]).timestamp()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Answer(hosts, f"its answer of {text['asked']} is used, which is {age / 60:.0f} minutes old")


def _keep(state: Path, url: str, hosts: Any, found: list[Registration], domain: str) -> None:
    """Write down that it answered, what it said, and whom to trust; each whole or not at all."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if not (state / RECORD).is_file():
        write_whole(state / RECORD, json.dumps({"url": url, "since": now}) + "\n")
    write_whole(state / CACHE, json.dumps({"asked": now, "hosts": hosts}) + "\n")
    write_whole(state / REGISTERED_HOSTS, known_hosts(found, domain))


def known_hosts(found: list[Registration], domain: str) -> str:
    """The text for ssh: each machine by its names and its address, with the one key that was approved."""
    lines = []
    for one in found:
        kind, key = one.host_key.split()[:2]
        lines.append(f"{one.name},{one.name}.{domain},{one.address} {kind} {key}\n")
    return "".join(lines)


def write_whole(file: Path, text: str) -> None:
    """Replace a file by `text`, readable by its owner alone, unless that is what it holds."""
    try:
        if file.read_text(encoding="utf-8") == text:
            return
    except OSError:
        pass
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
