# SPDX-License-Identifier: GPL-3.0-or-later
"""What the commands do: each opens the site, runs its stages, writes the report and tells the end."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from updraft import consoles, lab
from updraft.display import make_display, recap
from updraft.records import Record, new_record, prune, unfinished
from updraft.report import StageResult, build_report, write_report
from updraft.runner import Session, Stage, run_stage
from updraft.site import Refusal, Site

DIFFERS = 3


@contextmanager
def session_of(site: Site, record: Record, *, raw: bool, quiet: bool = False) -> Iterator[Session]:
    """A command at work on a site: locked, with its display (none if quiet), ended in order by a signal."""
    display = make_display(io.StringIO() if quiet else None)
    session = Session(site, display, record, raw=raw)
    try:
        with session.signals():
            yield session
    finally:
        display.close()


def _checked(site: Site) -> None:
    """Refuse a site whose cloud.yml is wrong, before anything is made or contacted."""
    if check_model(site, quiet=True):
        raise Refusal(f"{site.cloud_file} has to be put right first: see above")


def check_model(site: Site, *, quiet: bool = False) -> int:
    """Check the model alone; the exit code. Its problems are printed; `quiet` leaves the good news out."""
    from updraft import check

    return check.check(site.inventory, quiet=quiet)


def make_secrets(site: Site) -> int:
    """Make what is missing of a site's secrets and name it."""
    from updraft import vault

    _checked(site)
    with site.lock():
        added = vault.ensure_secrets(site)
    for name in added:
        print(f"made {name}")
    missing = vault.unwritten_secrets(site)
    for name in missing:
        print(f"missing {name}: only you know it; `ansible-vault edit {site.secrets_file}`, below {vault.VARIABLE}")
    if added or not missing:
        made = f"{site.secrets_file}: {len(added)} made, the others were there"
        print(made if added else "all secrets are there")
    return 0


def run(site: Site, playbook: Path, arguments: Sequence[str], typed: list[str], *, raw: bool) -> int:
    """Run one playbook on a site."""
    with site.lock():
        record = new_record(site.state / "artifacts", typed, str(playbook), list(arguments))
        result = _one(site, record, raw=raw)
        if result.changed and playbook.stem != "verify":
            lab.Proof(site).suspend()  # what `lab up` proved is not what is there now
        return result.code


def resume(site: Site, *, raw: bool) -> int:
    """Run the last playbook once more, if it did not end well."""
    with site.lock():
        record = unfinished(site.state / "artifacts")
        print(f"resuming {record.folder.name}: {' '.join(record.command)}")
        return _one(site, record, raw=raw).code


def drift(site: Site, playbook: Path, arguments: Sequence[str], typed: list[str], *, raw: bool) -> int:
    """Show what site.yml would change: 0 nothing, 3 something, else Ansible's own failure."""
    with site.lock():
        options = ["--check", "--diff", *arguments]
        record = new_record(site.state / "artifacts", typed, None, options)
        result = _one(site, record, raw=raw, playbook=playbook)
    if result.code:
        return result.code
    print(f"drift: {result.changed} tasks would change something" if result.changed else "no drift")
    return DIFFERS if result.changed else 0


def _one(site: Site, record: Record, *, raw: bool, playbook: Path | None = None) -> StageResult:
    """Run the playbook of a record, and write down how it went."""
    file = playbook or Path(str(record.playbook))
    started = datetime.now(UTC)
    with session_of(site, record, raw=raw) as session:
        result = run_stage(session, Stage(file.stem, file, tuple(record.arguments), hosts=site.nodes))
    close(site, record, [result])
    report = build_report(site.name, " ".join(record.command), started, [result], lab.tenant(site))
    write_report(site.state / "report.json", report)
    return result


def close(site: Site, record: Record, results: Sequence[StageResult]) -> None:
    """Keep a run's end in its folder, and tell it."""
    record.status = next((result.status for result in results if result.status not in ("ok", "skipped")), "ok")
    record.save()
    prune(site.state / "artifacts")
    for result in results:
        if result.hosts or result.failures:
            print(f"\n{result.name}\n{recap(result.hosts, result.failures)}")
        if result.reason and result.status != "skipped":
            print(f"\n{result.name}: {result.reason}")
    if record.status != "ok":
        silent = {host for result in results for host, counts in result.hosts.items() if counts.unreachable}
        if lines := consoles.told(site, record.began, silent):
            print("\n" + "\n".join(lines))
        print(f"\n{record.status}. Ansible's whole output: {record.folder}")


def lab_up(site: Site, typed: list[str], *, raw: bool) -> int:
    """Build the lab, and say what was built."""
    from updraft import vault

    lab.lab_of(site)
    _checked(site)
    with site.lock():
        record = new_record(site.state / "artifacts", typed, None, [])
        with session_of(site, record, raw=raw) as session:
            results = lab.up(session, " ".join(typed), vault.ensure_secrets)
        close(site, record, results)
    code = next((result.code or 1 for result in results if result.status not in ("ok", "skipped")), 0)
    if code == 0:
        print(f"\n{lab.summary(site, model(site))}")
    return code


def lab_add_node(site: Site, name: str | None, typed: list[str], *, raw: bool) -> int:
    """Switch on a spare machine of the lab, approve it by the code on its console, and roll the cloud out to it."""
    from updraft import joining

    chosen = lab.spare(site, name)
    code = _one_stage(site, typed, lambda session: lab.switch_on(session, chosen), raw=raw)
    return code or joining.rollout(site, joining.Limits(1, 1), typed, watching=False, raw=raw)


def lab_power(site: Site, node: str, how: str, typed: list[str], *, raw: bool) -> int:
    """Press the power button of a machine of the lab."""
    machine = lab.lab_of(site).get("machines", {}).get(node)
    if not machine or machine.get("kind") != "bare":
        raise Refusal(f"the lab has no machine '{node}' that boots by network: `kind: bare` below lab.machines")
    return _one_stage(site, typed, lambda session: lab.power(session, node, how), raw=raw)


def lab_down(site: Site, typed: list[str], *, raw: bool) -> int:
    """Remove the lab."""
    lab.lab_of(site)
    return _one_stage(site, typed, lab.down, raw=raw)


def _one_stage(site: Site, typed: list[str], stage: Callable[[Session], StageResult], *, raw: bool) -> int:
    """Do one stage of the lab, on record."""
    with site.lock():
        record = new_record(site.state / "artifacts", typed, None, [])
        with session_of(site, record, raw=raw) as session:
            result = stage(session)
        close(site, record, [result])
    return result.code


def model(site: Site) -> dict[str, Any]:
    """The model's `cloud`, with the machines of the registrar's last answer."""
    from ansible_collections.updraft.cloud.plugins.plugin_utils import registry
    from ansible_collections.updraft.cloud.plugins.plugin_utils.model.inventory import read

    _loaded, derived = read(site.cloud_file, lambda _site, _expanded, state: registry.last(state))
    return dict(derived.cloud)
