# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `./updraft --help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from updraft.site import ROOT, Refusal, Site, find_inventory, find_joining, find_site

#: Exit code of `drift` when the hosts are not what the model says, and of `lab status` when not all answers.
DIFFERS = 3

EPILOG = """\
exit codes: 0 done; 1 or above 1 as Ansible has it (2 a host failed, 4 a host was not reached);
2 refused; 3 drift found, or the lab is not all there; 124 ended because it hung; 130 interrupted"""


def parser() -> argparse.ArgumentParser:
    """The commands and their arguments."""
    top = argparse.ArgumentParser(
        prog="./updraft",
        description="A rack of bare Debian servers becomes a private cloud, from one file and with one command.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    inventory = argparse.ArgumentParser(add_help=False)
    inventory.add_argument("inventory", metavar="INVENTORY", help="folder of a cloud.yml, such as inventories/rack")
    raw = argparse.ArgumentParser(add_help=False)
    raw.add_argument("--raw", action="store_true", help="show Ansible's own output in place of the progress")

    def command(name: str, action: Action, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=list(parents))
        made.set_defaults(action=action)
        return made

    _lab_parser(command("lab", lab, "a cloud on this one computer", raw))
    command("check", check, "check a cloud.yml; no host is contacted", inventory)
    command("secrets", make_secrets, "make what is missing of a site's secrets", inventory)
    run_parser = command("run", run, "run a playbook on a site, by default playbooks/site.yml", inventory, raw)
    run_parser.usage = "./updraft run [--raw] [--resume] INVENTORY [PLAYBOOK] [-- ANSIBLE-PLAYBOOK ARGUMENTS]"
    run_parser.add_argument("playbook", metavar="PLAYBOOK", nargs="?", help="a file, or its name in playbooks/")
    run_parser.add_argument("--resume", action="store_true", help="take up the last run, if it did not end well")
    drift_parser = command("drift", drift, "show where the hosts differ from the model; change nothing", inventory, raw)
    drift_parser.usage = "./updraft drift [--raw] INVENTORY [-- ANSIBLE-PLAYBOOK ARGUMENTS]"
    _joining_parsers(command, raw)
    _storage_parsers(command, inventory, raw)
    test_parser = command("test", test, "check everything that a change of Updraft has to pass")
    test_parser.add_argument("--list", action="store_true", help="name the checks, in their order, and stop")
    test_parser.add_argument("--long", action="store_true", help="also the checks that take long")
    test_parser.add_argument("--only", metavar="NAME", action="append", help="one check (may be given several times)")
    return top


def _joining_parsers(command: Callable[..., argparse.ArgumentParser], raw: argparse.ArgumentParser) -> None:
    """The commands for machines that boot by network and register."""
    which = argparse.ArgumentParser(add_help=False)
    text = "the site; by default the only one where machines register, or the lab"
    which.add_argument("-i", "--inventory", metavar="INVENTORY", help=text)
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("inventory", metavar="INVENTORY", nargs="?", help=text)
    made = command("hosts", show_hosts, "show the machines that registered, and who waits for approval", place)
    made.add_argument("--json", action="store_true", help="everything that the registrar tells, as JSON")
    made = command("approve", approve, "approve the machine that shows this code on its console", which)
    made.add_argument("code", metavar="CODE")
    made.add_argument("--name", required=True, help="its name in the cloud, such as node2")
    made.add_argument("--pool", help="the pool it belongs to; not needed where there is one only")
    made.add_argument(
        "--roles", metavar="ROLE", nargs="+", default=[], help="what it becomes, if not what cloud.yml says"
    )
    made = command("rollout", rollout, "make approved machines nodes of the cloud, a canary first", place, raw)
    made.add_argument(
        "--watch", action="store_true", help="go on: also for those approved later, and those that return"
    )
    made.add_argument("--batch", type=_positive, default=5, metavar="N", help="so many at a time (5)")
    text = "stop when more than so many failed (1)"
    made.add_argument("--max-failures", type=_number, default=1, metavar="N", help=text)
    made = command(
        "retire", retire, "take a machine that registered out of the cloud; its instances leave first", which, raw
    )
    made.add_argument("node", metavar="NODE")
    made.add_argument("--force", action="store_true", help="although instances are left on it, which are lost then")


def _storage_parsers(
    command: Callable[..., argparse.ArgumentParser], inventory: argparse.ArgumentParser, raw: argparse.ArgumentParser
) -> None:
    """The commands for volumes on two servers."""
    made = command("storage", show_storage, "tell how the mirror of the volumes is", inventory, raw)
    made.add_argument("--json", action="store_true", help="everything that the servers tell, as JSON")
    text = "go on: have the other leg serve when one is lost (volumes.mirror.failover: by_itself)"
    made.add_argument("--watch", action="store_true", help=text)

    made = command("drill", drill, "lose parts of the cloud on purpose, under a load that is checked")
    below = made.add_subparsers(dest="drilled", required=True, metavar="WHAT")
    text = "cut a leg and a path, move serving there and back; the pauses, and whether anything was lost"
    made = below.add_parser("storage", help=text, description=text, parents=[inventory, raw])
    made.add_argument("--node", metavar="NODE", help="the compute node that writes; by default the first")


def _number(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number")
    return int(text)


def _positive(text: str) -> int:
    if _number(text) < 1:
        raise argparse.ArgumentTypeError("has to be 1 at least")
    return int(text)


def _lab_parser(made: argparse.ArgumentParser) -> None:
    """The commands below `lab`."""
    made.add_argument("--inventory", default="lab", metavar="INVENTORY", help="another lab than inventories/lab")
    below = made.add_subparsers(dest="lab_command", required=True, metavar="COMMAND")
    for name, text in (
        ("up", "build it, or bring it up to date"),
        ("status", "tell what of it runs"),
        ("down", "remove all that it made on this computer, but the cache of images"),
    ):
        below.add_parser(name, help=text, description=text)
    added = below.add_parser("add-node", help="start a spare machine by network, approve it, and make it a node")
    added.add_argument("node", metavar="NODE", nargs="?", help="a machine of the lab with spare: true")
    power = below.add_parser("power", help="press the power button of a machine that boots by network")
    power.add_argument("node", metavar="NODE")
    power.add_argument("how", choices=("on", "off", "reset"), help="off and reset cut the power without a warning")
    login = below.add_parser("ssh", help="log in to one of its machines", usage="./updraft lab ssh NODE [-- COMMAND]")
    login.add_argument("node", metavar="NODE")
    below.add_parser(
        "exec",
        help="run a command in the lab's network, outside of the cloud",
        usage="./updraft lab exec -- COMMAND",
    )


Action = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    words, rest = _split(arguments)
    options = parser().parse_args(words)
    options.rest = rest
    options.typed = list(arguments)
    action: Action = options.action
    try:
        return action(options)
    except Refusal as refusal:
        print(f"updraft: {refusal}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first `--` and those after it."""
    words = list(arguments)
    if "--" not in words:
        return words, []
    where = words.index("--")
    return words[:where], words[where + 1 :]


def _playbook(text: str | None) -> Path:
    """The playbook that the command line means."""
    text = text or "playbooks/site.yml"
    for candidate in (Path(text), ROOT / text, ROOT / "playbooks" / text, ROOT / "playbooks" / f"{text}.yml"):
        if candidate.is_file():
            return candidate.resolve()
    raise Refusal(f"no playbook '{text}': give a file, or the name of one in playbooks/")


def lab(options: argparse.Namespace) -> int:
    """`lab up|add-node|power|status|down|ssh|exec`."""
    from updraft import commands, labshell

    site = find_site(options.inventory)
    actions: dict[str, Callable[[Site], int]] = {
        "up": lambda site: commands.lab_up(site, options.typed, raw=options.raw),
        "add-node": lambda site: commands.lab_add_node(site, options.node, options.typed, raw=options.raw),
        "power": lambda site: commands.lab_power(site, options.node, options.how, options.typed, raw=options.raw),
        "down": lambda site: commands.lab_down(site, options.typed, raw=options.raw),
        "status": labshell.status,
        "ssh": lambda site: labshell.login(site, options.node, options.rest),
        "exec": lambda site: labshell.execute(site, options.rest),
    }
    return actions[options.lab_command](site)


def check(options: argparse.Namespace) -> int:
    """`check INVENTORY`."""
    from updraft import check as model

    # Not find_site: it wants a name, and what is wrong with the file is to be told all at once.
    return model.check(find_inventory(options.inventory))


def make_secrets(options: argparse.Namespace) -> int:
    """`secrets INVENTORY`."""
    from updraft import commands

    return commands.make_secrets(find_site(options.inventory))


def run(options: argparse.Namespace) -> int:
    """`run INVENTORY [PLAYBOOK] [-- ARGUMENTS]`."""
    from updraft import commands

    site = find_site(options.inventory)
    if options.resume:
        if options.playbook or options.rest:
            raise Refusal("--resume takes playbook and arguments from the run that it takes up: leave them out")
        return commands.resume(site, raw=options.raw)
    return commands.run(site, _playbook(options.playbook), options.rest, options.typed, raw=options.raw)


def drift(options: argparse.Namespace) -> int:
    """`drift INVENTORY`."""
    from updraft import commands

    return commands.drift(find_site(options.inventory), _playbook(None), options.rest, options.typed, raw=options.raw)


def show_storage(options: argparse.Namespace) -> int:
    """`storage INVENTORY [--json|--watch]`."""
    from updraft import storage, storage_watch

    if options.watch:
        return storage_watch.watch(find_site(options.inventory), options.typed, raw=options.raw)
    return storage.show(find_site(options.inventory), options.typed, as_json=options.json, raw=options.raw)


def drill(options: argparse.Namespace) -> int:
    """`drill storage INVENTORY [--node NODE]`."""
    from updraft import drill as drills

    return drills.run(find_site(options.inventory), options.typed, node=options.node, raw=options.raw)


def show_hosts(options: argparse.Namespace) -> int:
    """`hosts [INVENTORY] [--json]`."""
    from updraft import hosts

    return hosts.show(find_joining(options.inventory), as_json=options.json)


def approve(options: argparse.Namespace) -> int:
    """`approve CODE --name NAME [--pool POOL]`."""
    from updraft import hosts

    return hosts.approve(find_joining(options.inventory), options.code, options.name, options.pool, options.roles)


def rollout(options: argparse.Namespace) -> int:
    """`rollout [INVENTORY] [--watch] [--batch N] [--max-failures N]`."""
    from updraft import joining

    site = find_joining(options.inventory)
    limits = joining.Limits(options.batch, options.max_failures)
    return joining.rollout(site, limits, options.typed, watching=options.watch, raw=options.raw)


def retire(options: argparse.Namespace) -> int:
    """`retire NODE [--force]`."""
    from updraft import joining

    return joining.retire(
        find_joining(options.inventory), options.node, options.typed, force=options.force, raw=options.raw
    )


def test(options: argparse.Namespace) -> int:
    """`test [--list] [--long] [--only NAME]`."""
    from updraft.testing import suite

    return suite.run(list_only=options.list, only=options.only or [], long=options.long)
