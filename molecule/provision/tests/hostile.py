# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls every method that cobblerd has, with no token, an empty one, "-1", and forged ones. Runs where cobblerd runs.

Usage: hostile.py URL. Prints JSON: how many methods and attempts, and the answers which were no plain refusal.
"""

import inspect
import json
import ssl
import sys
import xmlrpc.client

from cobbler.remote import CobblerXMLRPCInterface

REFUSED = "refused: log in, and call only what Updraft uses"
FORGED = "A" * 35 + "="
TOKENS = [None, "", "-1", -1, 0, True, FORGED, "a' or '1'='1", [], {}, "x" * 100000]
NAMES = {
    "what": "system",
    "object_type": "system",
    "edit_type": "edit",
    "name": "bios1",
    "object_name": "bios1",
    "system": "bios1",
    "sys_name": "bios1",
    "profile": "known",
    "hostname": "bios1",
    "dns_name": "bios1",
    "ip": "10.78.20.41",
    "mode": "pre",
    "objtype": "system",
    "file": "../../../etc/passwd",
    "file_path": "/etc/passwd",
    "data": "x",
    "size": 1,
    "offset": 0,
    "mtime": 0.0,
    "info": {"name": "evil", "profile": "known", "interfaces": {"eth0": {"mac_address": "52:54:00:66:66:66"}}},
    "options": {},
    "attributes": {"name": "bios1", "comment": "hacked"},
    "criteria": {"name": "*"},
    "recursive": True,
}
LOGINS = [
    ("", ""),
    ("", "-1"),
    ("", -1),
    ("", None),
    ("cobbler", "cobbler"),
    ("admin", ""),
    ("updraft", ""),
    ("updraft", "updraft"),
    ("<system>", "-1"),
    ("<DIRECT>", "-1"),
    ("updraft:Cobbler", "x"),
    ("updraft\n", "x"),
]
# What cobblerd's server has beside its methods, or might have.
OTHERS = [
    "system.listMethods",
    "system.multicall",
    "system.methodHelp",
    "_dispatch",
    "__init__",
    "api.settings",
    "",
    "api",
]


def arguments(function, token, with_token):
    """Values for all parameters of a method, in order."""
    values = []
    for name, parameter in list(inspect.signature(function).parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        if name == "token":
            if not with_token:
                break
            values.append(token)
        else:
            values.append(NAMES.get(name, "bios1"))
    return values


def main():
    """Try everything."""
    url = sys.argv[1]
    context = ssl.create_default_context() if url.startswith("https") else None
    server = xmlrpc.client.ServerProxy(url, allow_none=True, context=context)
    methods = [name for name, _ in inspect.getmembers(CobblerXMLRPCInterface, callable) if not name.startswith("_")]
    attempts, past = 0, []

    def attempt(method, values):
        nonlocal attempts
        attempts += 1
        try:
            # Past the names that the proxy itself has.
            answer = server.__getattr__(method)(*values)
        except xmlrpc.client.Fault as fault:
            if (fault.faultCode, fault.faultString) == (403, REFUSED):
                return
            answer = fault.faultString
        past.append([method, repr(values)[:200], repr(answer)[:200]])

    for method in methods:
        if method == "login":
            continue
        function = getattr(CobblerXMLRPCInterface, method)
        attempt(method, [])
        attempt(method, arguments(function, None, False))
        for token in TOKENS:
            attempt(method, arguments(function, token, True))
            attempt(method, [*arguments(function, token, True), token])
    for method in OTHERS:
        for values in ([], [FORGED], [[]]):
            attempt(method, values)
    for values in LOGINS:
        attempt("login", list(values))
    print(json.dumps({"methods": len(methods), "attempts": attempts, "past": past}))


if __name__ == "__main__":
    main()
