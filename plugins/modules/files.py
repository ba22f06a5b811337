# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.files: many files in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write many templates, files, directories and links, and run what reads them, in one round trip
version_added: 0.1.0
description:
  - Renders the whole list on the controller, compares it with the machine and writes what differs, in
    one round trip for the whole list.
  - Every command that validates runs on copies of the new files before anything is replaced. If one
    fails, nothing is written.
  - Each file is replaced by a rename, so that a reader sees the old text or the new one. A file that is
    a mount point, such as C(/etc/hosts) in a container, is written in place.
  - Directories which a path lacks are made, owned by root with mode 0755. A file that has no other mode
    or owner in the list keeps its own; a new one is root's with mode 0644, a new directory 0755.
  - Once the files are in place, O(units) are brought to their state by the rules of
    M(updraft.cloud.units), in the same round trip. Where a validation fails, no unit is touched.
options:
  files:
    description: What is to be on the machine. The order does not matter, but for directories within
      each other.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path on the target.
        type: str
        required: true
      state:
        description:
          - C(absent) removes a file, a link or an empty directory.
        type: str
        choices: [file, directory, link, absent]
        default: file
      template:
        description:
          - Jinja template, looked for as M(ansible.builtin.template) does (C(templates/) of the role),
            rendered with the variables of the task and C(ansible_managed). Blocks are trimmed.
        type: str
      src:
        description: A file which is sent as it is (C(files/) of the role).
        type: str
      content:
        description: The text itself. Data (a dictionary or a list) is written as JSON.
        type: raw
      target:
        description: What a link points to. It need not exist.
        type: str
      owner:
        description: Name or number. In check mode one that does not exist yet is noted and does not
          fail.
        type: str
      group:
        description: Name or number, as O(files[].owner).
        type: str
      mode:
        description: Quoted octal digits, such as C("0640").
        type: raw
      validate:
        description: Command which gets the path of the new text for C(%s) and whose exit code must be
          0. No shell.
        type: str
      sensitive:
        description:
          - The diff tells only how many lines differ. If not given, true for a file which not everybody
            may read.
        type: bool
      vars:
        description: More variables for this template.
        type: dict
        default: {}
      purge:
        description: For a directory; shell patterns of file names in it which are removed when not in
          the list.
        type: list
        elements: str
        default: []
      recurse:
        description: Lets C(absent) remove a directory with what is in it.
        type: bool
        default: false
  validate:
    description:
      - Commands for all files together, run if any text changes. C(%s) is a directory in which each
        file of the list lies under its path, so that C(%s/etc/x.conf) is the new text of
        C(/etc/x.conf).
    type: list
    elements: str
    default: []
  units:
    description:
      - What runs on these files, as in M(updraft.cloud.units). What decides a restart is the content of a
        unit's C(depends), not this list of files.
    type: list
    elements: dict
  timeout:
    description: Seconds for all units together until each is ready; 120 if not given. Only with O(units).
    type: int
  changed_paths:
    description: Paths which earlier tasks would change, as in M(updraft.cloud.units). Those of this task
      count by themselves. Only with O(units).
    type: list
    elements: path
notes:
  - In check mode a validation that fails is a warning, because what it needs may only be there after a
    real run.
attributes:
  check_mode:
    description: Tells the full plan and changes nothing.
    support: full
  diff_mode:
    description: One element for each path.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: glance | Write the configuration
  updraft.cloud.files:
    files:
      - {path: /etc/glance, state: directory, owner: root, group: glance, mode: "0750"}
      - {path: /etc/glance/glance-api.conf, template: api.conf.j2, owner: root, group: glance, mode: "0640"}
      - {path: /etc/default/glance, content: "WORKERS=1\n", mode: "0644"}
      - {path: /etc/sudoers.d/glance, src: sudoers, mode: "0440", validate: "visudo -cf %s"}
      - {path: /etc/glance/old.conf, state: absent}
  register: __glance_files

- name: chrony | Write the settings and run the service
  updraft.cloud.files:
    files:
      - {path: /etc/chrony/chrony.conf, template: chrony.conf.j2, mode: "0644"}
    units:
      - name: chrony.service
        depends: [/etc/chrony/chrony.conf]
        ready: {command: [chronyc, -n, tracking]}
    timeout: 60

- name: endpoint | Write the proxy, checked as a whole
  updraft.cloud.files:
    files:
      - {path: /etc/haproxy/haproxy.cfg, template: haproxy.cfg.j2, mode: "0644"}
      - {path: /etc/haproxy/conf.d, state: directory, purge: ["updraft-*.cfg"]}
      - {path: /etc/haproxy/conf.d/updraft-api.cfg, template: api.cfg.j2, mode: "0644"}
    validate:
      - haproxy -c -f %s/etc/haproxy/haproxy.cfg -f %s/etc/haproxy/conf.d
"""

RETURN = r"""
changed_paths:
  description: Paths which were, or in check mode would be, made, changed or removed.
  returned: success
  type: list
  elements: str
  sample: [/etc/glance/glance-api.conf]
changes:
  description: For each of these paths what differed (content, mode, owner, group, type, absent).
  returned: success
  type: dict
  sample: {/etc/glance/glance-api.conf: [content]}
units:
  description: For each unit what was done, or in check mode would be, and why.
  returned: success with O(units)
  type: dict
  sample: {chrony.service: {operations: [restart], reason: "changed: /etc/chrony/chrony.conf"}}
failed_units:
  description: Units which failed or were not ready in time. The files are written by then, and the
    result tells which. The message has the ends of the units' journals and logs.
  returned: failure of a unit
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.files import FilesError
from ansible_collections.updraft.cloud.plugins.module_utils.files_payload import unpack
from ansible_collections.updraft.cloud.plugins.module_utils.files_service import ServiceError, carry_out


def main() -> None:
    """Take what the action rendered and make the machine hold it."""
    # One argument, and that secret: rendered files hold passwords, and a module's arguments are logged.
    module = AnsibleModule(
        argument_spec={"payload": {"type": "str", "required": True, "no_log": True}}, supports_check_mode=True
    )
    failure = ""
    try:
        result = carry_out(unpack(module.params["payload"]), check=module.check_mode, diff=module._diff)
    except (FilesError, OSError) as error:
        module.fail_json(msg=str(error))
    except ServiceError as error:
        failure, result = str(error), error.result
    for text in result.pop("warnings"):
        module.warn(text)
    if failure:
        module.fail_json(msg=failure, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
