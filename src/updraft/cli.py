# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `./updraft --help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from updraft.site import ROOT, Refusal, Site, find_inventory, find_site

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
    test_parser = command("test", test, "check everything that a change of Updraft has to pass")
    test_parser.add_argument("--list", action="store_true", help="name the checks, in their order, and stop")
    test_parser.add_argument("--only", metavar="NAME", action="append", help="one check (may be given several times)")
    return top


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
    """`lab up|status|down|ssh|exec`."""
    from updraft import commands, labshell

    site = find_site(options.inventory)
    actions: dict[str, Callable[[Site], int]] = {
        "up": lambda site: commands.lab_up(site, options.typed, raw=options.raw),
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


def test(options: argparse.Namespace) -> int:
    """`test [--list] [--only NAME]`."""
    from updraft.testing import suite

    return suite.run(list_only=options.list, only=options.only or [])
