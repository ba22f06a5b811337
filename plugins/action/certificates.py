# SPDX-License-Identifier: GPL-3.0-or-later
"""Have machines make keys, and sign their requests here; the authority's key stays on the controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.updraft.cloud.plugins.plugin_utils.ca import Authority, AuthorityError

CERTIFICATE_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str"},
    "directory": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "names": {"type": "list", "elements": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "certificates": {"type": "list", "elements": "dict", "required": True, "options": CERTIFICATE_SPEC},
    "ca_certificate": {"type": "str", "required": True},
    "ca_key": {"type": "str", "required": True, "no_log": True},
    "renew_days": {"type": "int", "default": 30},
    "valid_days": {"type": "int", "default": 365},
    "trust": {"type": "bool", "default": True},
}


class ActionModule(ActionBase):
    """The controller's half of updraft.cloud.certificates; see the module for what it does."""

    _supports_check_mode = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """One round trip where nothing has to be signed, two otherwise."""
        super().run(tmp, task_vars)
        checked = ArgumentSpecValidator(ARGUMENT_SPEC).validate(dict(self._task.args))
        if checked.error_messages:
            raise AnsibleActionFail("\n".join(f"wrong argument: {text}" for text in checked.error_messages))
        arguments: dict[str, Any] = checked.validated_parameters
        if arguments["valid_days"] <= arguments["renew_days"]:
            raise AnsibleActionFail("valid_days has to be more than renew_days, else each run signs anew")
        try:
            authority = Authority(arguments["ca_certificate"], arguments["ca_key"])
        except AuthorityError as error:
            raise AnsibleActionFail(str(error)) from None
        if authority.days_left <= arguments["renew_days"]:
            raise AnsibleActionFail(f"the authority expires in {authority.days_left} days: make a new one")
        sent = {key: arguments[key] for key in ("certificates", "ca_certificate", "renew_days", "trust")}
        result = self._module({**sent, "phase": "inspect"}, task_vars)
        requests = result.pop("requests", {})
        if result.get("failed") or not requests:
            return result
        wanted = [one for one in arguments["certificates"] if one["directory"] in requests]
        signed = self._sign(authority, requests, wanted, arguments["valid_days"])
        second = self._module({**sent, "certificates": wanted, "phase": "install", "signed": signed}, task_vars)
        return second if second.get("failed") else result

    def _sign(
        self, authority: Authority, requests: Mapping[str, str], wanted: list[dict[str, Any]], days: int
    ) -> dict[str, str]:
        signed = {}
        for one in wanted:
            try:
                request = str(requests[one["directory"]])
                signed[one["directory"]] = authority.sign(request, one["names"], one["addresses"], days)
            except (AuthorityError, ValueError) as error:
                raise AnsibleActionFail(f"{one['directory']}: cannot be signed: {error}") from None
        return signed

    def _module(self, arguments: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="updraft.cloud.certificates", module_args=dict(arguments), task_vars=task_vars
        )
        return result
