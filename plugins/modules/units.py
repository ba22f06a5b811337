# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.units: systemd units, side by side."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Bring systemd units to their state, side by side, and wait until they serve
version_added: 0.1.0
description:
  - Starts, restarts, reloads, stops, enables and masks a list of units. All starts are queued at once,
    then each unit is awaited.
  - Whether a unit has to restart is decided by content. When a unit was started and is ready, the
    SHA-256 of its unit files, its drop-ins and all files in O(units[].depends) is kept in
    C(/var/lib/updraft/units). Where they differ now, the unit restarts. So a run that was cut at any
    point restarts later what it did not come to.
  - A unit may be in lists of several tasks; each looks at what its own list depends on.
  - A unit that runs and was never started by this module is restarted once.
  - systemd reads its unit files again (C(daemon-reload)) by itself where they are newer than what it
    knows.
  - A unit of C(Type=oneshot) without C(RemainAfterExit) runs again when its content differs.
options:
  units:
    description: The units. Their order does not matter; systemd orders them as their unit files say.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the unit; without a type it is a service.
        type: str
        required: true
      state:
        description: Whether it is to run. V(kept) leaves that to somebody else, who starts and stops it; where it
          runs and what it reads has changed, it is restarted.
        type: str
        choices: [started, stopped, kept]
        default: started
      enabled:
        description: Whether it starts at boot; V(true) also unmasks. If not given, a started unit is
          enabled and others are not.
        type: bool
      masked:
        description: Masks a stopped unit, so that nothing can start it.
        type: bool
        default: false
      depends:
        description: Files, and directories with all that is in them, whose content the unit reads. One
          that does not exist counts as such.
        type: list
        elements: path
        default: []
      reload:
        description: Reload instead of restart when only O(units[].depends) differ.
        type: bool
        default: false
      ready:
        description: What holds once the unit serves. With several, all must hold. Asked on the target,
          also for a unit that needs no change.
        type: dict
        suboptions:
          tcp:
            description: C(host:port) which accepts a connection.
            type: str
          http:
            description: URL which answers. Redirects are not followed; TLS is verified.
            type: str
          status:
            description: HTTP status codes which are right.
            type: list
            elements: int
            default: [200]
          ca:
            description: File with the authority to verify O(units[].ready.http) by, in place of the
              system's.
            type: path
          command:
            description: Command, as a list of words, whose exit code is 0. No shell.
            type: list
            elements: str
          path:
            description: Path which exists, such as a socket.
            type: path
      logs:
        description: Log files whose ends are shown beside the journal when the unit fails.
        type: list
        elements: path
        default: []
  timeout:
    description: Seconds for all units together until each is ready.
    type: int
    default: 120
  changed_paths:
    description: Paths which earlier tasks would change. Used in check mode only, so that the restarts
      they cause are told.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    description: Tells what would be done. A unit that does not exist yet would be started.
    support: full
  diff_mode:
    description: One line for each unit which something is done to, with the reason.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: glance | Run the service
  updraft.cloud.units:
    units:
      - name: glance-api
        depends: [/etc/glance, /etc/pki/updraft-glance]
        ready: {http: "http://127.0.0.1:9292/healthcheck"}
        logs: [/var/log/glance/glance-api.log]
      - name: mariadb
        depends: [/etc/mysql]
        ready: {tcp: "127.0.0.1:3306"}
      - name: apt-daily.timer
        state: stopped
        masked: true
    timeout: 180
    changed_paths: "{{ __glance_files.changed_paths }}"
"""

RETURN = r"""
units:
  description: For each unit what was done, or in check mode would be, and why.
  returned: success
  type: dict
  sample: {glance-api.service: {operations: [restart], reason: "changed: /etc/glance/glance-api.conf"}}
failed_units:
  description: Units which failed or were not ready in time. The message has the ends of their journals
    and logs.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import units_run
from ansible_collections.updraft.cloud.plugins.module_utils.units import UNIT_SPEC

ARGUMENT_SPEC = {
    "units": {"type": "list", "elements": "dict", "required": True, "options": UNIT_SPEC},
    "timeout": {"type": "int", "default": 120},
    "changed_paths": {"type": "list", "elements": "path", "default": []},
}


def main() -> None:
    """Read the arguments, reconcile, answer."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    given = module.params
    try:
        result = units_run.result_of(
            given["units"],
            timeout=given["timeout"],
            coming=given["changed_paths"],
            check=module.check_mode,
            diff=module._diff,
        )
    except ValueError as error:
        module.fail_json(msg=str(error))
    except units_run.UnitsError as error:
        module.fail_json(msg=str(error), failed_units=error.failed)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
