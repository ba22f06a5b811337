#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What many files cost: updraft.cloud.files with 1 and with 20, and ansible.builtin.template once and in a loop of 20.

Two kinds of files: texts as they are ("text"), which show what the list itself costs, and templates ("files"), to which
comes what Jinja takes for each.

One run of ansible-playbook does all kinds in turn, several rounds of each, so that all see the same machine. In every
round each text is another, so that every file is written; the same again without a change is measured, too. What is
told are the medians of the seconds, and of the ratios within a round; what is judged is the ratio of the least times,
in which nothing else of the computer was in the way, of texts: how long Jinja takes is not the list's doing. The loop
takes long and is in the first rounds only.

    tests/bench/files.py                              on this computer
    tests/bench/files.py --inventory I --host NAME    on a machine of an inventory
    tests/bench/files.py --check                      exit code 1 when 20 texts cost more than 1.2 times one
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MANY = 20
MOST = 1.2
#: How many more runs may bring the least times nearer before a ratio is judged.
MORE = 5
TEMPLATE = """# {{ ansible_managed | default('') }}
[DEFAULT]
round = {{ bench_round }}
{% for number in range(40) %}
option_{{ number }} = {{ bench_text }} {{ number * 3 }}
{% endfor %}
{% if bench_round is defined %}
[end]
name = {{ bench_text | upper }}
{% endif %}
"""
CONFIGURATION = f"""[defaults]
collections_path = {ROOT}
[connection]
pipelining = true
"""
LOOP = "template loop 20"
#: Rounds with the loop; what is judged needs none, but is told beside it.
LOOPS, LOOPS_JUDGED = 2, 1
JUDGED = ("text 20", "text 1")
KINDS = ("text 1", "text 20", "files 1", "files 20", "template 1", LOOP)


def entries(count: int, folder: str, *, text: bool) -> list[dict[str, str]]:
    """The list for updraft.cloud.files, or the loop for template."""
    sources = [{"content": "{{ bench_content }}"} if text else {"template": f"t{n:02}.j2"} for n in range(count)]
    return [{"path": f"{folder}/{n:02}.conf", **source, "mode": "0644"} for n, source in enumerate(sources)]


def task(kind: str, folder: str) -> dict[str, Any]:
    """One task of the playbook, without name."""
    count = 1 if kind.endswith(" 1") else MANY
    files = entries(count, folder, text=kind.startswith("text"))
    if not kind.startswith("template"):
        return {"updraft.cloud.files": {"files": files}}
    module = {"src": "{{ item.template }}", "dest": "{{ item.path }}", "mode": "{{ item.mode }}"}
    return {"ansible.builtin.template": module, "loop": files}


def tasks(rounds: int, loops: int, folder: str) -> Iterator[dict[str, Any]]:
    """All tasks in the order in which they run; round 0 warms up. Every other round runs backwards."""
    for number in range(rounds + 1):
        kinds = [kind for kind in KINDS if kind != LOOP or 0 < number <= loops]
        for kind in kinds if number % 2 else reversed(kinds):
            for state in ("written", "unchanged"):
                place = f"{folder}/{kind.replace(' ', '-')}"
                name = json.dumps({"kind": kind, "state": state, "round": number})
                variables = {"bench_round": number, "bench_content": content(number)}
                yield {"name": name, "vars": variables, **task(kind, place)}


def content(number: int) -> str:
    """A text as long as what the template gives in that round."""
    return "\n".join([f"round = {number}", *(f"option_{n} = text {n * 3}" for n in range(40)), "[end]", ""])


def playbook(rounds: int, loops: int, host: str, folder: str) -> list[dict[str, Any]]:
    """The playbook: folders, what is measured, and the folders away again."""
    places = [{"path": f"{folder}/{kind.replace(' ', '-')}", "state": "directory"} for kind in KINDS]
    before = {"name": "before", "updraft.cloud.files": {"files": places}}
    gone = [{"path": folder, "state": "absent", "recurse": True}]
    after = {"name": "after", "updraft.cloud.files": {"files": gone}}
    play = {"name": "Measure", "hosts": host, "gather_facts": False, "vars": {"bench_text": "text"}}
    return [{**play, "tasks": [before, *tasks(rounds, loops, folder), after]}]


def run(rounds: int, loops: int, inventory: str | None, host: str) -> dict[str, Any]:
    """Run the playbook, with the loop in the first `loops` rounds; returns the report of Ansible's JSON callback."""
    with tempfile.TemporaryDirectory(prefix="updraft-bench-") as folder:
        project = Path(folder)
        (project / "templates").mkdir()
        for number in range(MANY):
            (project / "templates" / f"t{number:02}.j2").write_text(TEMPLATE)
        (project / "play.yml").write_text(json.dumps(playbook(rounds, loops, host, f"{folder}/out")))
        if inventory is None:
            python = "/usr/bin/python3"
            variables = {"ansible_connection": "local", "ansible_python_interpreter": python}
            hosts = {"all": {"hosts": {host: variables}}}
            (project / "hosts.json").write_text(json.dumps(hosts))
        environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
        if inventory is None:
            (project / "ansible.cfg").write_text(CONFIGURATION)
            environment["ANSIBLE_CONFIG"] = str(project / "ansible.cfg")
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [str(program), "-i", inventory or str(project / "hosts.json"), str(project / "play.yml")]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"ansible-playbook gave {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
        report: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
        return report


def seconds(report: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Seconds by state and kind, without the round that warms up. Refuses a report in which a task did nothing."""
    times: dict[str, dict[str, list[float]]] = {}
    for one in report["plays"][0]["tasks"]:
        if not one["task"]["name"].startswith("{"):
            continue
        label = json.loads(one["task"]["name"])
        (result,) = one["hosts"].values()
        if bool(result["changed"]) != (label["state"] == "written"):
            raise SystemExit(f"{one['task']['name']}: changed is {result['changed']}, so it measures nothing")
        if label["round"]:
            start, end = (datetime.datetime.fromisoformat(one["task"]["duration"][key]) for key in ("start", "end"))
            taken = (end - start).total_seconds()
            times.setdefault(label["state"], {}).setdefault(label["kind"], []).append(taken)
    return times


def ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """What the figures are for: medians of what is divided round by round."""
    pairs = [JUDGED, ("files 20", "files 1"), (LOOP, "template 1"), (LOOP, "files 20")]
    return {
        f"{one} / {other}": round(statistics.median(a / b for a, b in zip(times[one], times[other], strict=False)), 2)
        for one, other in pairs
    }


def least(times: dict[str, list[float]]) -> float:
    """The ratio that is judged: the least time of 20 texts by the least time of one."""
    many, one = (min(times[kind]) for kind in JUDGED)
    return round(many / one, 2)


def worst(times: dict[str, dict[str, list[float]]]) -> float:
    """The higher of the two ratios that are judged."""
    return max(least(kinds) for kinds in times.values())


def add(times: dict[str, dict[str, list[float]]], more: dict[str, dict[str, list[float]]]) -> None:
    """Put the times of another run to those of the first."""
    for state, kinds in more.items():
        for kind, values in kinds.items():
            times[state][kind] += values


def summarise(times: dict[str, dict[str, list[float]]], host: str) -> dict[str, Any]:
    """The figures as they are written to a file."""
    result: dict[str, Any] = {
        "rounds": len(times["written"][JUDGED[0]]),
        "host": host,
        "controller": {"python": platform.python_version(), "processors": os.cpu_count()},
        "load": os.getloadavg()[0],
    }
    for state, kinds in times.items():
        medians = {kind: round(statistics.median(values), 4) for kind, values in kinds.items()}
        spread = {kind: [round(min(values), 4), round(max(values), 4)] for kind, values in kinds.items()}
        result[state] = {"seconds": medians, "spread": spread, "ratios": ratios(kinds), "least": least(kinds)}
    return result


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    where = f"{result['rounds']} rounds on {result['host']}, load {result['load']:.1f}"
    print(f"Medians of {where}, in seconds (least to most)")
    for state in ("written", "unchanged"):
        print(f"\n{state}")
        for kind, value in result[state]["seconds"].items():
            least, most = result[state]["spread"][kind]
            print(f"  {kind:<18}{value:8.3f}   ({least:.3f} to {most:.3f})")
        for name, value in result[state]["ratios"].items():
            print(f"  {name:<32}{value:6.2f}")
        print(f"  {' / '.join(JUDGED) + ', least times':<32}{result[state]['least']:6.2f}")


def main() -> int:
    """Measure, tell, and with --check judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--inventory", help="default: this computer, by the local connection")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--output", type=Path, default=ROOT / ".updraft" / "bench" / "files.json")
    parser.add_argument("--check", action="store_true", help=f"fail when 20 texts cost more than {MOST} times one")
    arguments = parser.parse_args()
    loops = LOOPS_JUDGED if arguments.check else LOOPS
    times = seconds(run(arguments.rounds, loops, arguments.inventory, arguments.host))
    for _ in range(MORE if arguments.check else 0):
        if worst(times) <= MOST:
            break
        # Other work on this computer lengthens some tasks and shortens none: more of them bring the least time nearer.
        add(times, seconds(run(arguments.rounds, 0, arguments.inventory, arguments.host)))
    result = summarise(times, arguments.host)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    show(result)
    ratio = worst(times)
    if arguments.check and ratio > MOST:
        print(f"\n20 texts cost {ratio} times one, more than {MOST}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
