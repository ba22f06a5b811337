# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill of the storage: the load's counts, pauses, report, picture, and when it does not begin."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as Tree
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.updraft.cloud.plugins.module_utils import drill as node
from ansible_collections.updraft.cloud.plugins.module_utils.drill_load import (
    EILSEQ,
    Area,
    Count,
    areas,
    buckets,
    command,
    count,
    report,
    samples,
)
from updraft import drill
from updraft.drill_picture import Scale, pauses, picture
from updraft.drill_report import Outcome, Step, iso, pause_of, words
from updraft.drill_report import report as made
from updraft.progress import Failure
from updraft.report import StageResult
from updraft.site import Refusal, Site

BEGAN = 1_795_295_000.0


class TestLoad:
    """What fio is told, and what it says."""

    AREA = Area("/dev/mapper/x", 1 << 20, 1 << 21, 50, 4)

    def test_each_round_has_content_of_its_own(self) -> None:
        one, two = (command(self.AREA, number, Path("/f/fio0"), read_only=False) for number in (1, 2))
        assert "--verify_pattern=0x00000001%o" in one
        assert "--verify_pattern=0x00000002%o" in two
        assert "--rate_iops=,50" in one
        assert "--direct=1" in one

    def test_the_last_reading_writes_nothing(self) -> None:
        words = command(self.AREA, 1, Path("/f/fio0"), read_only=True)
        assert "--rw=read" in words
        assert not [word for word in words if word.startswith("--rate")]

    def test_areas_do_not_overlap(self) -> None:
        one, two = areas("/dev/x", 2, 8, 100, 4)
        assert (one.offset + one.size, two.rate) == (two.offset, 50)

    def test_its_report_stands_behind_its_errors(self) -> None:
        job = {"error": EILSEQ, "total_err": 5, "write": {"total_ios": 100}, "read": {"total_ios": 100}}
        text = "fio: got pattern '01', wanted '02'\n" + json.dumps({"jobs": [job]}, indent=1)
        assert count(report(text), 1) == Count(written=100, compared=100, wrong=5)

    def test_a_failed_write_is_no_wrong_block(self) -> None:
        job = {"error": 5, "total_err": 1, "write": {"total_ios": 7}, "read": {"total_ios": 0}}
        assert count(job, 1) == Count(written=7, failed=1)

    def test_no_report_is_a_failure(self) -> None:
        assert count(report("fio: killed"), -9) == Count(failed=1)

    def test_what_took_long_keeps_its_time(self) -> None:
        lines = ["1000, 2000000, 1, 4096, 0", "1100, 5000000, 1, 4096, 0", "9123, 8000000000, 1, 4096, 0", "broken"]
        assert buckets(samples(lines)) == [[1000.0, 5.0, 2], [9123, 8000.0, 1]]


class TestNode:
    """What a machine does to itself."""

    def test_the_table_is_its_own_and_drops_both_ways(self) -> None:
        text = node.ruleset(["10.0.1.22"])
        assert "ip daddr 10.0.1.22 tcp dport 3260 counter drop" in text
        assert "ip saddr 10.0.1.22 tcp sport 3260 counter drop" in text
        assert text.startswith("table inet updraft_drill\ndelete table inet updraft_drill\n")

    def test_ipv6(self) -> None:
        assert "ip6 daddr fd00::22 tcp dport 3260" in node.ruleset(["fd00::22"])

    def test_the_timer_knows_when(self) -> None:
        assert "--on-active=600" in node.timer_command(600)

    def test_errors_of_the_whole_device_alone(self) -> None:
        text = (
            "blk_update_request: I/O error, dev sdc, sector 8 op 0x1\n"
            "I/O error, dev dm-3, sector 16 op 0x1\n"
            "Buffer I/O error on dev dm-31, logical block 1\n"
            "device-mapper: multipath: 254:3: Failing path 8:32.\n"
        )
        assert node.kernel_errors(text, ["dm-3", "36001405abc"]) == ["I/O error, dev dm-3, sector 16 op 0x1"]

    def test_bytes_written(self) -> None:
        rows = "254 16 vdb 1 0 2 3 4 0 100 5 0 6 7\n254 0 vda 1 0 2 3 4 0 900 5 0 6 7\n"
        assert node.written(["/dev/vdb"], rows) == 100 * 512

    def test_paths(self) -> None:
        group = {"paths": [{"dm_st": "active"}, {"dm_st": "failed"}]}
        assert node.paths(json.dumps({"map": {"path_groups": [group]}})) == {"active": 1, "all": 2}


def load(**other: Any) -> dict[str, Any]:
    """The load of a drill in which a leg's loss paused 6.4 s, and a failover 9.1 s."""
    chance = random.Random(1)
    latency: list[list[float]] = []
    for number in range(1200):
        moment = BEGAN + number * 0.2
        if not (30 < number * 0.2 <= 36.4 or 120 < number * 0.2 <= 129.1):
            latency.append([moment * 1000, 2 + chance.expovariate(0.2), 20])
    latency += [
        [(BEGAN + 36.4) * 1000, 6400.0, 1],
        [(BEGAN + 36.41) * 1000, 6390.0, 1],
        [(BEGAN + 129.1) * 1000, 9100.0, 1],
    ]
    found = {"rounds": 9, "written": 18000, "compared": 20048, "wrong": 0, "failed": 0, "seconds": 240.0}
    return {**found, "kernel_errors": [], "words": [], "latency": sorted(latency), **other}


def outcome(**other: Any) -> Outcome:
    """A drill of four minutes that went well."""
    numbers = {
        "cut": 100.0,
        "alone": 106.0,
        "restored": 117.0,
        "whole": 124.0,
        "dirtied": 3 << 20,
        "leg": 5 << 20,
        "own": 1 << 20,
    }
    steps = [
        Step("leg", "storage2 cut off, and healed", BEGAN + 29, BEGAN + 70, True, numbers),
        Step("path", "one of 2 paths cut off", BEGAN + 71, BEGAN + 110, True),
        Step("failover", "serving moved to storage2", BEGAN + 118, BEGAN + 131, True),
        Step("back", "serving moved back to storage1", BEGAN + 150, BEGAN + 165, True),
        Step("end", "everything compared once more", BEGAN + 210, BEGAN + 240, True),
    ]
    given: dict[str, Any] = {
        "site": "lab",
        "node": "node1",
        "serving": "storage1",
        "started": BEGAN,
        "ended": BEGAN + 245,
    }
    return Outcome(**{**given, "steps": steps, "load": load(), **other})


class TestReport:
    """The verdict, and the numbers."""

    def test_the_pause_of_what_ended_in_a_step(self) -> None:
        assert pause_of([[5000, 4000, 1], [9000, 100, 3], [20_000, 9000, 1]], 4.0, 10.0) == 4.0
        assert pause_of([], 4.0, 10.0) == 0.0

    def test_passed(self) -> None:
        found = made(outcome())
        assert (found["result"], found["problems"], found["longest_pause"]) == ("passed", [], 9.1)
        assert [step["pause"] for step in found["steps"]][:3] == [6.4, found["steps"][1]["pause"], 9.1]
        leg = found["steps"][0]
        assert (leg["resynced_bytes"], leg["dirtied_bytes"]) == (4 << 20, 3 << 20)
        assert (leg["noticed_seconds"], leg["healed_seconds"], leg["late"]) == (6.0, 7.0, False)

    def test_times_have_a_zone(self) -> None:
        assert made(outcome())["ended"] == iso(BEGAN + 245)
        assert iso(BEGAN).endswith("+00:00")

    def test_the_clock_of_the_node(self) -> None:
        moved = [[end + 50_000, took, number] for end, took, number in load()["latency"]]
        assert made(outcome(load=load(latency=moved), shift=50.0))["steps"][0]["pause"] == 6.4

    @pytest.mark.parametrize(
        ("other", "text"),
        [
            ({"wrong": 3}, "3 blocks did not hold"),
            ({"failed": 1}, "1 reads or writes failed"),
            ({"kernel_errors": ["I/O error, dev dm-3"]}, "told 1 errors"),
            ({"written": 0}, "nothing was written"),
        ],
    )
    def test_failed(self, other: dict[str, Any], text: str) -> None:
        found = made(outcome(load=load(**other)))
        assert found["result"] == "failed"
        assert text in found["problems"][0]

    def test_without_a_measure_it_did_not_pass(self) -> None:
        found = made(outcome(load=None))
        assert (found["result"], found["load"]) == ("failed", None)
        assert [found["longest_pause"], *(step["pause"] for step in found["steps"])] == [None] * (
            1 + len(found["steps"])
        )
        assert "not measured" in picture(found, [])

    def test_slower_than_promised_is_told(self) -> None:
        slow = sorted([*load()["latency"], [(BEGAN + 40) * 1000, 11_000.0, 1]])
        found = made(outcome(load=load(latency=slow)))
        assert (found["result"], found["steps"][0]["late"]) == ("passed", True)
        assert "promised at most 10 s" in "\n".join(words(found))

    def test_in_words(self) -> None:
        text = "\n".join(words(made(outcome())))
        assert "4.0 MiB copied, 3.0 MiB had been written meanwhile" in text
        assert "18000 writes of 4 KiB, 20048 read and compared on node1: 0 wrong" in text


class TestPicture:
    """The time line."""

    def test_it_is_xml_with_all_steps(self) -> None:
        text = picture(made(outcome()), load()["latency"])
        Tree.fromstring(text)
        assert "storage2 cut off, and healed" in text
        assert ">9.1 s<" in text
        assert "none lost" in text

    def test_of_a_drill_that_broke_at_once(self) -> None:
        text = picture(made(outcome(steps=[], load=None, problems=["a <b> & c"])), [])
        Tree.fromstring(text)
        assert "a &lt;b&gt; &amp; c" in text

    def test_pauses_that_overlap_are_one(self) -> None:
        scale = Scale(BEGAN, BEGAN + 240, 20_000)
        assert [pause["seconds"] for pause in pauses(load()["latency"], scale)] == [6.4, 9.1]


def site(**mirror: Any) -> Site:
    """A site with a mirror."""
    known = {"legs": ["storage1", "storage2"], "address": "10.0.1.9", **mirror}
    return Site(Path("/nowhere"), {"name": "lab", "volumes": {"mirror": known}})


def statuses(**other: Any) -> dict[str, Any]:
    """Both servers of a whole mirror."""
    array = {"words": "volumes0 is on both servers", "whole": True}
    first = {"role": "serving", "up": True, "generation": 1, "arrays": [array], "addresses": {"a": True, "b": True}}
    return {"storage1": {**first, "pool": None, **other}, "storage2": {"role": "leg", "up": False, "generation": 1}}


CLOUD = {
    "nodes": {
        "storage1": {"roles": ["storage"], "addresses": {}},
        "node1": {"roles": ["compute"], "addresses": {"management": "a", "storage": "b", "storage2": "c"}},
        "node2": {"roles": ["compute"], "addresses": {"storage": "b"}},
    }
}


class TestPlan:
    """Who takes part, and when nobody does."""

    def test_the_first_node_by_two_paths(self) -> None:
        assert drill.plan(site(), CLOUD, statuses(), None) == drill.Plan("node1", "storage1", "storage2", 2)

    def test_a_node_with_one_path(self) -> None:
        assert drill.plan(site(), CLOUD, statuses(), "node2").paths == 1

    def test_not_when_it_is_not_healthy(self) -> None:
        array = {"words": "volumes0 is on this server only", "whole": False}
        with pytest.raises(
            Refusal, match="is not healthy, and a drill would make it worse: storage1: volumes0 is on this"
        ):
            drill.plan(site(), CLOUD, statuses(arrays=[array]), None)

    def test_not_when_one_does_not_answer(self) -> None:
        with pytest.raises(Refusal, match="storage2 does not answer"):
            drill.plan(site(), CLOUD, {**statuses(), "storage2": None}, None)

    def test_not_without_a_canary(self) -> None:
        with pytest.raises(Refusal, match="canary_gib: 1"):
            drill.plan(site(canary_gib=0), CLOUD, statuses(), None)

    def test_not_on_a_node_of_another_kind(self) -> None:
        with pytest.raises(Refusal, match="'storage1' is no compute node: there are node1, node2"):
            drill.plan(site(), CLOUD, statuses(), "storage1")

    def test_not_without_nodes(self) -> None:
        with pytest.raises(Refusal, match="nobody could write"):
            drill.plan(site(), {"nodes": {}}, statuses(), None)

    def test_why_a_stage_failed(self) -> None:
        failed = StageResult("leg", "failed", failures=[Failure("storage2", "task", "nft: no")])
        assert drill.why(failed) == "storage2: nft: no"
        assert drill.why(StageResult("leg", "hung", reason="nothing ended for 20 min")) == "nothing ended for 20 min"
