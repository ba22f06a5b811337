# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard in front of cobblerd: what gets past it, and what does not. `molecule/provision` asks the real one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

FILE = Path(__file__).parents[2] / "roles/cobbler/files/guarded_cobblerd.py"
TOKEN = "t" * 36
EDIT = ("xapi_object_edit", "system", "node1", "edit")


def load():
    spec = importlib.util.spec_from_file_location("guarded_cobblerd", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


guard = load()


class Cobbler:
    """Methods with the signatures of the real ones."""

    def __init__(self):
        self.called = []

    def token_check(self, token):
        return token == TOKEN

    def login(self, login_user, login_password):
        if (login_user, login_password) != ("updraft", "secret"):
            raise ValueError(f"login failed ({login_user})")
        return TOKEN

    def get_systems(self, page=None, results_per_page=None, token=None, **rest):
        self.called.append("get_systems")
        return ["node1"]

    def xapi_object_edit(self, object_type, object_name, edit_type, attributes, token):
        self.called.append("xapi_object_edit")
        return True

    def sync(self, token):
        self.called.append("sync")

    def register_new_system(self, info, token=None, **rest):
        self.called.append("register_new_system")

    def background_aclsetup(self, options, token):
        self.called.append("background_aclsetup")


def call(method, *params):
    cobbler = Cobbler()
    try:
        result = guard.dispatch(SimpleNamespace(proxied=cobbler), method, params)
    except guard.Refused as refused:
        assert refused.faultString == "refused: log in, and call only what Updraft uses"
        assert cobbler.called == []
        return "refused"
    return result


def test_who_is_logged_in_may_do_what_updraft_does():
    assert call("get_systems", None, None, TOKEN) == ["node1"]
    assert call(*EDIT, {"name": "node1", "mac_address": "52:54:00:00:00:01"}, TOKEN) is True
    assert call("sync", TOKEN) is None


@pytest.mark.parametrize("token", [None, "", "-1", -1, "x" * 36, 0, True, [], {}, ["t"], TOKEN + " ", TOKEN.upper()])
def test_no_other_token_opens_anything(token):
    assert call("get_systems", None, None, token) == "refused"
    assert call("sync", token) == "refused"
    assert call(*EDIT, {"name": "node1"}, token) == "refused"


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("get_systems", ()),
        ("get_systems", (TOKEN,)),
        ("get_systems", (None, None, TOKEN, 1)),
        ("sync", ()),
        ("sync", (TOKEN, TOKEN)),
        ("register_new_system", ({}, TOKEN)),
        ("background_aclsetup", ({}, TOKEN)),
        ("_dispatch", (TOKEN,)),
        ("__init__", (TOKEN,)),
        ("called", (TOKEN,)),
        ("nothing", (TOKEN,)),
        ("", ()),
        (None, ()),
    ],
)
def test_what_is_not_listed_is_refused_also_with_a_token(method, params):
    assert call(method, *params) == "refused"


@pytest.mark.parametrize(
    ("object_type", "edit_type", "attributes"),
    [
        ("system", "edit", {"template_files": {"/etc/shadow": "/srv/x"}}),
        ("system", "edit", {"power_type": "x"}),
        ("distro", "edit", {"boot_files": {}}),
        ("profile", "edit", {"autoinstall_meta": {}}),
        ("repo", "add", {"name": "x"}),
        ("system", "remove", {"name": "x"}),
        ("system", "rename", {"newname": "x"}),
        ("system", "edit", "name=x"),
        (["system"], "edit", {}),
    ],
)
def test_an_edit_is_limited_to_what_updraft_writes(object_type, edit_type, attributes):
    assert call("xapi_object_edit", object_type, "node1", edit_type, attributes, TOKEN) == "refused"


def test_login(monkeypatch):
    monkeypatch.setattr(guard, "FAILURE_DELAY", 0)
    assert call("login", "updraft", "secret") == TOKEN
    for params in [(), ("", ""), ("", "secret"), ("", -1), ("updraft",), ("updraft", ""), ("updraft", None), (1, 2)]:
        assert call("login", *params) == "refused"
    assert call("login", "cobbler", "cobbler") == "refused"
    assert call("login", "<DIRECT>", "secret") == "refused"


class Api:
    """One system, one profile."""

    def find_system(self, return_list, mac_address):
        return [SimpleNamespace(name="node1")] if mac_address == "52:54:00:00:00:0a" else []

    def find_profile(self, name):
        return name if name == "node" else None

    def generate_ipxe(self, profile, image, system):
        return f"{profile} {image} {system}"


@pytest.mark.parametrize(
    ("kind", "name", "default", "script"),
    [
        ("mac", "52:54:00:00:00:0A", "", "None None node1"),
        ("mac", "52-54-00-00-00-0a", "", "None None node1"),
        ("mac", "52:54:00:00:00:0b", "node", "node None None"),
        ("mac", "52:54:00:00:00:0b", "", None),
        ("mac", "node1", "node", "node None None"),
        ("profile", "node", "", "node None None"),
        ("profile", "other", "node", None),
    ],
)
def test_boot_script(kind, name, default, script):
    assert guard.boot_script(Api(), kind, name, default) == script


@pytest.mark.parametrize(
    "path",
    [
        "/cblr/svc/op/nopxe/system/node1",
        "/cblr/svc/op/trig/mode/post",
        "/cblr/svc/op/ipxe/system/node1",
        "/cblr/svc/op/ipxe/mac/",
        "/cblr/svc/op/ipxe/mac/a/b",
        "/cblr/svc/op/ipxe/mac/a\n",
        "/cblr/svc/op/ipxe/mac/../profile",
        "/cblr/svc/op/ipxe/profile/x?system=y",
        "/cblr/svc/op/autoinstall/profile/node",
        "/",
    ],
)
def test_nothing_else_is_served(path):
    assert guard.SCRIPT_PATH.match(path) is None
