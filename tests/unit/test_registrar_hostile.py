# SPDX-License-Identifier: GPL-3.0-or-later
"""More than a thousand hostile requests: each is refused with a 4xx, and afterwards nothing is other than before."""

from __future__ import annotations

import base64
import json
import random
import secrets

import pytest
from registrar_kit import address, machine, new_key, running, settings_for
from test_registrar_rules import silent

FACTS = ("name", "pool", "roles", "kept_state", "host_key", "code", "address", "macs", "serial", "uuid", "hardware")
HTML = "<script>alert(1)</script>"
SQL = "x'; DROP TABLE hosts; --"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Three machines in service, one of them long silent with a token made for it; one that waits."""
    with running(settings_for(tmp_path_factory.mktemp("hostile"))) as found:
        found.told = [found.in_service(number, f"node{number}") for number in (1, 2, 3)]
        handles = [told.pop("id") for told in found.told]
        silent(found, 60)
        found.used = found.token(found.told[0], address(1))
        fresh = {**found.told[0], "host_key": new_key(), "boot_token": found.used}
        answer = found.post(1, fresh)
        assert answer.status_code == 200
        found.told[0] = {**fresh, "boot_token": None}
        handles[0] = answer.json()["id"]
        found.open = found.token(found.told[2], address(3))
        assert found.open
        found.waiting = machine(4)
        found.code = found.post(4, found.waiting).json()["code"]
        # Machines 1 and 2 are awake; 3 is away.
        silent(found, 50)
        for handle, number in zip(handles[:2], (1, 2), strict=True):
            assert found.follow(handle, address(number)).status_code == 200
        yield found


def snapshot(site) -> list:
    return sorted((entry["id"], *(json.dumps(entry[fact]) for fact in FACTS)) for entry in site.hosts())


def register_attempts(site):
    """Registrations that claim what is another's: (body, address)."""
    one, two, three = site.told
    for _ in range(60):
        # Clones: the MAC, or all of the identity, with another key, from its address and from others.
        yield {**one, "host_key": new_key()}, address(1)
        yield {**one, "host_key": new_key()}, "10.77.0.99"
        yield {**machine(77), "macs": one["macs"], "boot_mac": one["boot_mac"]}, "10.77.0.99"
        yield {**machine(77), "macs": sorted([*machine(77)["macs"], *two["macs"]])}, "10.77.0.99"
        # The pinned key, which is public, from elsewhere; and on another machine.
        yield one, "10.77.0.99"
        yield machine(77, host_key=two["host_key"]), "10.77.0.99"
        # Tokens: forged, replayed, of another, for one that is awake, for one that nobody knows.
        yield {**three, "host_key": new_key(), "boot_token": secrets.token_hex(16)}, address(3)
        yield {**three, "host_key": new_key(), "boot_token": site.used}, address(3)
        yield {**one, "host_key": new_key(), "boot_token": site.used}, address(1)
        yield {**one, "host_key": new_key(), "boot_token": site.open}, address(1)
        yield {**two, "host_key": new_key(), "boot_token": site.open}, address(2)
        yield {**three, "host_key": new_key(), "boot_token": site.open}, "10.77.0.99"
        yield {**three, "serial": "other", "host_key": new_key(), "boot_token": site.open}, address(3)
        yield {**three, "uuid": one["uuid"], "host_key": new_key(), "boot_token": site.open}, address(3)
        yield machine(78, boot_token=site.open), "10.77.0.99"
        yield {**two, "boot_token": secrets.token_hex(16)}, address(2)


def malformed():
    """Bodies which are no registration."""
    good = machine(90)
    for name in good:
        if name not in ("boot_token", "machine_id", "serial", "uuid", "image", "hardware"):
            yield {key: value for key, value in good.items() if key != name}
        for wrong in (7, [], {}, [None], {"a": {}}, True, "\x1b[2J", "x" * 3000, "\ud800"):
            if not (name == "hardware" and wrong == {}):
                yield {**good, name: wrong}
    yield {**good, "admin": True}
    yield {**good, "state": "in_service"}
    yield {**good, "macs": [f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(200)]}
    yield {**good, "boot_mac": "52:54:00:ff:ff:ff"}
    yield {**good, "macs": ["ff:ff:ff:ff:ff:ff"], "boot_mac": "ff:ff:ff:ff:ff:ff"}
    for wrong in ("ssh-rsa AAAA", "ssh-ed25519 " + "A" * 68, "ssh-ed25519 AAAA\nssh-ed25519 BBBB", SQL, HTML):
        yield {**good, "host_key": wrong}
    for name in ("serial", "image", "machine_id", "uuid", "firmware"):
        yield {**good, name: "\x00"}
        yield {**good, name: "a\nb"}
    for name in ("cpus", "memory_mib", "disks", "nics", "vendor"):
        for wrong in (-1, 1e300, "\x1b]0;x\x07", [[]], {"x": 1}):
            yield {**good, "hardware": {**good["hardware"], name: wrong}}


RAW = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"\xff\xfe",
    b"{}" * 10,
    b"[" * 5000,
    b'{"a":' * 2000,
    b'{"macs": NaN}',
    b"macs=1&boot_mac=2",
    b"<xml/>",
    b"x" * 65537,
    b"{" + b" " * 70000 + b"}",
)
TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a")


def test_claims_and_tokens(site):
    before = snapshot(site)
    count = 0
    for told, at in register_attempts(site):
        answer = site.post(0, told, at)
        assert 400 <= answer.status_code < 500, (answer.status_code, answer.text, told, at)
        assert "id" not in answer.json(), "no handle"
        count += 1
    assert count >= 900
    silent(site, 1)
    assert snapshot(site) == before
    kinds = set(site.alarms())
    assert {"address", "clone", "double", "token-forged", "token-foreign"} <= kinds


def test_malformed_bodies(site):
    before = snapshot(site)
    count = 0
    for body in malformed():
        text = json.dumps(body)
        answer = site.call("POST", "/v1/nodes", content=text, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500, (answer.status_code, body)
        count += 1
    for raw in RAW:
        for kind in TYPES:
            answer = site.call("POST", "/v1/nodes", content=raw, headers={"content-type": kind})
            assert 400 <= answer.status_code < 500, (answer.status_code, raw[:40], kind)
            count += 1
    good = json.dumps(machine(91)).encode()
    for kind in TYPES[1:]:
        assert site.call("POST", "/v1/nodes", content=good, headers={"content-type": kind}).status_code == 422
    assert count >= 200
    assert snapshot(site) == before


def test_guessing_and_paths(site):
    before = snapshot(site)
    generator = random.Random(1)
    for turn in range(150):
        at = f"10.78.0.{turn}"
        code = "".join(generator.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=8))
        body = {"code": code, "name": "evil", "pool": "community"}
        # Without login a right code is worth nothing; with it a wrong one is.
        assert site.call("POST", "/v1/hosts/approve", json={**body, "code": site.code}, at=at).status_code == 401
        assert site.call("POST", "/v1/hosts/approve", json=body, operator=True).status_code == 404
        assert site.follow(secrets.token_hex(16)).status_code == 404
    for name in ("..%2f..%2fetc%2fpasswd", "%00", SQL, HTML, "node1%0a", "NODE1", "-", "a" * 64, "node1;x", "*", "%25"):
        for method, path in (("POST", f"/v1/hosts/{name}/state"), ("PUT", f"/v1/hosts/{name}/progress")):
            answer = site.call(method, path, json={"state": "retired"}, operator=True)
            assert 400 <= answer.status_code < 500, (path, answer.status_code)
        assert 400 <= site.follow(name).status_code < 500
        approve = {"code": site.code, "name": name, "pool": "community"}
        assert site.call("POST", "/v1/hosts/approve", json=approve, operator=True).status_code == 422
        answer = site.boot_client.get("/boot/ipxe", params={"mac": name})
        assert 400 <= answer.status_code < 500
    for path in (
        "/static/../settings.py",
        "/static/..%2f..%2f..%2fetc/passwd",
        "/static/%2e%2e/app.py",
        "/static/....//app.py",
        "/static//etc/passwd",
        "/docs",
        "/redoc",
        "/boot/ipxe?mac=52:54:00:00:00:03",
        "/v1/../v1/hosts",
        "//v1/hosts",
        "/.env",
    ):
        answer = site.call("GET", path)
        assert 400 <= answer.status_code < 500, (path, answer.status_code)
    for path in ("/", "/parts", "/v1/hosts", "/login", "/approve", "/static/page.js"):
        assert 400 <= site.boot_client.get(path).status_code < 500, "only /boot/ is there"
    assert snapshot(site) == before


def test_login_and_forms(site):
    before = snapshot(site)
    form = {"code": site.code, "name": "evil", "pool": "community"}
    for turn, basic in enumerate(("operator:", ":", "operator:x", "admin:correct-horse-battery", "\x00", "operator")):
        value = base64.b64encode(basic.encode()).decode()
        answer = site.call("GET", "/v1/hosts", headers={"authorization": f"Basic {value}"}, at=f"10.79.0.{turn}")
        assert answer.status_code == 401
    for value in ("Basic !!!", "Basic", "Bearer x", "Basic " + "A" * 4000):
        answer = site.call("GET", "/v1/hosts", headers={"authorization": value}, at="10.79.1.1")
        assert 400 <= answer.status_code < 500
    assert site.call("POST", "/approve", data=form).status_code == 401
    forged = ("9999999999.x.y", "9999999999.00." + "0" * 64, "..", "x", "9" * 5000)
    for cookie in forged:
        answer = site.call("POST", "/approve", data=form, headers={"cookie": f"__Host-updraft={cookie}"})
        assert answer.status_code == 401
    cookie = log_in(site)
    for csrf in (None, "", "0" * 64, "x" * 1000):
        sent = form if csrf is None else {**form, "csrf": csrf}
        for path in ("/approve", "/acknowledge", "/logout"):
            answer = site.call("POST", path, data=sent, headers={"cookie": cookie}, follow_redirects=False)
            assert answer.status_code == 403, (path, csrf)
        answer = site.call("POST", "/v1/hosts/approve", json=form, headers={"cookie": cookie})
        assert answer.status_code == 403, "the API by cookie needs the token, too"
    csrf = csrf_of(site, cookie)
    evil = {"cookie": cookie, "sec-fetch-site": "cross-site"}
    assert site.call("POST", "/approve", data={**form, "csrf": csrf}, headers=evil).status_code == 403
    answer = site.call("POST", "/approve", json={**form, "csrf": csrf}, headers={"cookie": cookie})
    assert answer.status_code == 415
    assert snapshot(site) == before


def log_in(site) -> str:
    answer = site.call("POST", "/login", data={"password": "correct-horse-battery"}, follow_redirects=False)
    assert answer.status_code == 303
    header = answer.headers["set-cookie"]
    assert all(word in header for word in ("HttpOnly", "Secure", "SameSite=strict", "__Host-updraft="))
    return header.partition(";")[0]


def csrf_of(site, cookie: str) -> str:
    page = site.call("GET", "/", headers={"cookie": cookie})
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]


def test_the_token_is_still_the_machine_s_own(site):
    """Last: none of all that used it up."""
    answer = site.post(3, {**site.told[2], "host_key": new_key(), "boot_token": site.open}, address(3))
    assert answer.status_code == 200 and answer.json()["state"] == "ready"


def test_what_machines_say_is_text_on_the_page(tmp_path):
    with running(settings_for(tmp_path)) as site:
        told = machine(1, serial=SQL)
        told["hardware"] |= {"vendor": HTML, "product": '"><img src=x onerror=alert(1)>', "cpu_model": "{{ 7 * 7 }}"}
        told["hardware"]["disks"][0]["model"] = "';alert(1)//"
        assert site.post(1, told).status_code == 201
        cookie = log_in(site)
        text = site.call("GET", "/?q=%22%3E%3Cscript%3E", headers={"cookie": cookie}).text
        assert "<script>" not in text
        text = site.call("GET", "/", headers={"cookie": cookie}).text
        assert HTML not in text and "&lt;script&gt;alert(1)" in text
        assert "<img" not in text and "{{ 7 * 7 }}" in text
        assert len(site.hosts()) == 1


def test_the_real_limits_hold(tmp_path):
    """With the rates as they are in service: an address that does not stop is told so, and others are served."""
    rates = {"rate_register": 30, "rate_poll": 120, "rate_operator": 1200, "rate_boot": 60}
    with running(settings_for(tmp_path, **rates)) as site:
        answers = [site.post(0, {"x": 1}, "10.77.0.66").status_code for _ in range(100)]
        assert answers.count(429) >= 65 and set(answers) == {422, 429}
        wrong = [site.call("POST", "/login", data={"password": str(n)}, at="10.77.0.67").status_code for n in range(20)]
        assert wrong.count(401) == 5 and wrong.count(429) == 15
        assert site.post(1).status_code == 201
