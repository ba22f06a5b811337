# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs cobblerd with a guard in front of every call.

Cobbler's XML-RPC has some 200 methods; many ask for no token, or for one that they never look at (`get_systems`,
`register_new_system`, `run_install_triggers`, `upload_log_data`, ...). All calls go through one function, and this
program puts its own there. It stands inside cobblerd and not in a proxy before it, so that a local user finds the same
door, and nobody has to read XML twice in the same way. What is not listed here is refused, also with a valid token.

Booting machines cannot log in. They get one thing, by GET: the iPXE script of a MAC address or a profile.
"""

import inspect
import os
import re
import sys
import time
import xmlrpc.client

# What may be called with no token at all.
LOGIN = "login"
# What may be called with the token of a login. Nothing here runs a command or writes a template.
ALLOWED = frozenset(
    {
        *("token_check", "logout"),
        *("get_distros", "get_profiles", "get_systems", "find_distro", "find_profile", "find_system"),
        *("xapi_object_edit", "remove_distro", "remove_profile", "remove_system"),
        *("sync", "sync_dhcp"),
    }
)
# What `xapi_object_edit` may touch: no templates, no files to copy, no power management.
EDITS = frozenset({"add", "edit"})
ATTRIBUTES = {
    "distro": {"name", "owners", "comment", "arch", "breed", "os_version", "kernel", "initrd", "kernel_options"},
    "profile": {"name", "owners", "comment", "distro", "kernel_options", "autoinstall"},
    "system": {
        *("name", "owners", "comment", "profile", "kernel_options", "netboot_enabled", "autoinstall"),
        *("interface", "mac_address", "ip_address"),
    },
}
# Against guessing: a login that failed answers this many seconds later.
FAILURE_DELAY = 1.0
BODY_LIMIT = 1024 * 1024
SCRIPT_PATH = re.compile(r"/cblr/svc/op/ipxe/(mac|profile)/([A-Za-z0-9][A-Za-z0-9:._-]{0,127})\Z")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
# A script which cannot be had is asked for again: a server that restarts must not strand a machine.
NO_SCRIPT = "#!ipxe\necho Updraft: there is nothing to boot for this machine; asking again in 30 s\nsleep 30\nreboot\n"


class Refused(xmlrpc.client.Fault):
    """What the caller gets to know: that it was refused, and nothing else."""

    def __init__(self):
        """Carry the same text for every reason."""
        super().__init__(403, "refused: log in, and call only what Updraft uses")


def check(method, params, function, valid):
    """Raise Refused unless this call is allowed.

    `function` is the bound method of cobblerd or None if there is none; `valid(token)` asks cobblerd.
    """
    if method == LOGIN:
        # An empty name is Cobbler's own way in, by a secret in a file, with all rights.
        if len(params) != 2 or not all(isinstance(value, str) and value for value in params):
            raise Refused
        return
    if method not in ALLOWED or function is None:
        raise Refused
    try:
        given = inspect.signature(function).bind(*params).arguments
    except TypeError as error:
        raise Refused from error
    token = given.get("token")
    if not isinstance(token, str) or not token or not valid(token):
        raise Refused
    if method == "xapi_object_edit":
        _check_edit(given)


def _check_edit(given):
    attributes = given["attributes"]
    known = ATTRIBUTES.get(given["object_type"]) if isinstance(given["object_type"], str) else None
    if known is None or given["edit_type"] not in EDITS or not isinstance(attributes, dict) or set(attributes) - known:
        raise Refused


def dispatch(self, method, params, **_rest):
    """Stand in for the function of cobblerd through which every call goes."""
    # A call without a name has none at all here.
    is_name = isinstance(method, str) and not method.startswith("_")
    function = getattr(self.proxied, method, None) if is_name else None
    try:
        check(method, params, function, self.proxied.token_check)
    except Refused:
        print(f"refused: {method!r:.80}", file=sys.stderr, flush=True)
        raise
    try:
        return function(*params)
    except Exception as error:
        if method == LOGIN:
            time.sleep(FAILURE_DELAY)
            print(f"failed login as {params[0]!r:.80}", file=sys.stderr, flush=True)
            raise Refused from None
        raise xmlrpc.client.Fault(1, f"{type(error).__name__}: {error}") from error


def boot_script(api, kind, name, default_profile):
    """Return the iPXE script of a MAC address or a profile, or None; an unknown MAC gets the default profile's."""
    if kind == "mac":
        address = name.lower().replace("-", ":")
        found = api.find_system(return_list=True, mac_address=address) if MAC.match(address) else []
        if found:
            return api.generate_ipxe(None, None, found[0].name) or None
        name = default_profile
    if not name or api.find_profile(name=name) is None:
        return None
    return api.generate_ipxe(name, None, None) or None


def handler(base, default_profile):
    """Return a request handler on top of cobblerd's own, which answers GET and limits what it reads."""

    class Handler(base):
        timeout = 60

        def do_GET(self):  # noqa: N802
            match = SCRIPT_PATH.match(self.path)
            if not match:
                self.send_error(404)
                return
            try:
                script = boot_script(self.server.instance.proxied.api, *match.groups(), default_profile) or NO_SCRIPT
            except Exception as error:
                print(f"no boot script for {self.path}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                self.send_error(500)
                return
            body = script.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):  # noqa: N802
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > BODY_LIMIT or self.headers.get("Content-Encoding"):
                self.send_error(413)
                self.close_connection = True
                return
            super().do_POST()

        def do_OPTIONS(self):  # noqa: N802
            self.send_error(405)

        def end_headers(self):
            # Past cobblerd's own, which lets the pages of any site call the API from a browser.
            super(base, self).end_headers()

    return Handler


def main():
    """Put the guard in place, then run cobblerd in the foreground."""
    from cobbler import cobblerd, remote
    from cobbler.api import CobblerAPI

    # Its files are read by the web and TFTP servers; the secret that it makes anew at each start is nobody's business.
    os.umask(0o022)
    remote.ProxiedXMLRPCInterface._dispatch = dispatch
    remote.RequestHandler = handler(remote.RequestHandler, os.environ.get("UPDRAFT_DEFAULT_PROFILE", ""))
    api = CobblerAPI(is_cobblerd=True, settingsfile_location="/etc/cobbler/settings.yaml")
    cobblerd.core(api)


if __name__ == "__main__":
    main()
