# SPDX-License-Identifier: GPL-3.0-or-later
"""The registrar as a process: TLS, restarts in the middle of registrations, thousands who wait, speed."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from registrar_kit import machine
from registrar_process import registrar


def test_ten_registrations_through_a_kill(tmp_path):
    """Each machine repeats itself until it is answered, as the agent does. None is lost, none is doubled."""
    with registrar(tmp_path) as process:
        done: dict[int, str] = {}
        failures: list[int] = []

        def join(number: int) -> None:
            told, until = machine(number), time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    status, answer = process.call("POST", "/v1/nodes", told)
                    assert status in (200, 201), answer
                    done[number] = answer["id"]
                    # Again and again, so that every kill finds some in the middle.
                    if killed.is_set():
                        return
                except (OSError, ValueError):
                    failures.append(number)
                time.sleep(0.01)

        killed = threading.Event()
        threads = [threading.Thread(target=join, args=(number,)) for number in range(1, 11)]
        for thread in threads:
            thread.start()
        for _ in range(2):
            time.sleep(0.4)
            process.end(signal.SIGKILL)
            process.start()
        killed.set()
        for thread in threads:
            thread.join()
        hosts = process.hosts()
        assert sorted(host["serial"] for host in hosts) == sorted(f"SN{number}" for number in range(1, 11))
        assert len(done) == 10 and failures, "the kills were noticed"
        for handle in done.values():
            assert process.call("GET", f"/v1/nodes/{handle}")[0] == 200, "conversations go on"


def test_the_same_machine_at_the_same_instant(tmp_path):
    with registrar(tmp_path) as process:
        assert_one_row(process)


def assert_one_row(process) -> None:
    """Sixteen times the same registration at once make one row; so do approvals; and a name is given once."""
    told = machine(1)
    answers = at_once(16, lambda _: process.call("POST", "/v1/nodes", told))
    assert sorted(status for status, _ in answers) == [200] * 15 + [201]
    assert len(process.hosts()) == 1
    code = answers[0][1]["code"]
    body = {"code": code, "name": "node1", "pool": "community"}
    answers = at_once(8, lambda _: process.call("POST", "/v1/hosts/approve", body, operator=True))
    assert [status for status, _ in answers] == [200] * 8
    codes = [process.call("POST", "/v1/nodes", machine(number), at=number)[1]["code"] for number in range(2, 10)]

    def same_name(number: int):
        wanted = {"code": codes[number], "name": "node2", "pool": "community"}
        return process.call("POST", "/v1/hosts/approve", wanted, operator=True)

    assert sorted(status for status, _ in at_once(8, same_name)) == [200] + [409] * 7
    assert [host["name"] for host in process.hosts()].count("node2") == 1
    assert [host["name"] for host in process.hosts()].count("node1") == 1


def at_once(count: int, work) -> list:
    """What calls return that begin together."""
    barrier, found = threading.Barrier(count), [None] * count

    def one(number: int) -> None:
        barrier.wait()
        found[number] = work(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_tls_and_the_plain_port(tmp_path):
    with registrar(tmp_path) as process:
        with pytest.raises((OSError, ValueError)):
            urllib.request.urlopen(f"http://127.0.0.1:{process.port}/v1/openapi.json", timeout=5)
        context = ssl.create_default_context()
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            urllib.request.urlopen(f"https://localhost:{process.port}/", timeout=5, context=context)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", process.port)) as raw, pytest.raises((ssl.SSLError, OSError)):
            old.wrap_socket(raw)
        text = urllib.request.urlopen(
            f"http://127.0.0.1:{process.boot_port}/boot/ipxe?mac=52:54:00:00:00:01", timeout=5
        ).read()
        assert text.startswith(b"#!ipxe\nset updraft-token\nchain ")


def test_a_change_wakes_who_waits_and_the_end_lets_them_go(tmp_path):
    with registrar(tmp_path) as process:
        answer = process.call("POST", "/v1/nodes", machine(1))[1]
        found: list = []

        def follow(known: str) -> None:
            began = time.monotonic()
            found.append((process.call("GET", f"/v1/nodes/{answer['id']}?wait=25&known={known}"), began))

        thread = threading.Thread(target=follow, args=("seen",))
        thread.start()
        time.sleep(0.5)
        body = {"code": answer["code"], "name": "node1", "pool": "community"}
        assert process.call("POST", "/v1/hosts/approve", body, operator=True)[0] == 200
        thread.join()
        assert found[0][0][1]["state"] == "ready"
        assert time.monotonic() - found[0][1] < 20, "woken long before its 25 s are over"
        # Who waits when the machine is told to be away is woken, and that is no sign of life.
        thread = threading.Thread(target=follow, args=("ready",))
        thread.start()
        time.sleep(0.5)
        assert process.call("POST", "/v1/hosts/node1/state", {"state": "away"}, operator=True)[0] == 200
        thread.join()
        assert process.hosts()[0]["state"] == "away"
        thread = threading.Thread(target=follow, args=("ready",))
        thread.start()
        time.sleep(0.5)
        assert process.end() < 6, "who waits does not hold up the end"
        thread.join()


def test_a_thousand_wait_without_a_thread_each(tmp_path):
    """Long polls cost neither threads nor the answers of others."""
    count = 1000
    with registrar(tmp_path) as process:
        handle = process.call("POST", "/v1/nodes", machine(1))[1]["id"]
        request = f"GET /v1/nodes/{handle}?wait=25&known=seen HTTP/1.1\r\nHost: x\r\n\r\n".encode()

        async def wait_all() -> None:
            opened = await asyncio.gather(*(open_one() for _ in range(count)))
            for _, writer in opened:
                writer.write(request)
            waiting = [asyncio.create_task(reader.read(1)) for reader, _ in opened]
            await asyncio.sleep(3)
            threads = len(list(Path(f"/proc/{process.process.pid}/task").iterdir()))
            assert threads < 30
            status, _ = await asyncio.to_thread(process.call, "GET", "/v1/hosts", operator=True)
            assert status == 200
            assert not any(one.done() for one in waiting), "it was answered while all of them waited"
            for one, (_, writer) in zip(waiting, opened, strict=True):
                one.cancel()
                writer.transport.abort()

        gate = asyncio.Semaphore(50)

        async def open_one():
            async with gate:
                return await asyncio.open_connection("localhost", process.port, ssl=process.context)

        asyncio.run(wait_all())
