# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.node_store: versions of the nodes' image on the provisioning server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_store
short_description: Keep versions of the nodes' image on the provisioning server
version_added: 0.2.0
description:
  - With O(manifest), says which files of a version are missing or differ by their checksum. Changes nothing.
  - With O(version), makes that version the one that machines boot (the link C(current), by one rename), and removes old
    ones. A version in use is never removed.
options:
  path:
    description: Directory with a directory for each version.
    type: path
    required: true
  manifest:
    description: The RV(updraft.cloud.node_image#module:manifest) of an image.
    type: dict
  version:
    description: The version that is to be current. It has to be on the server.
    type: str
  keep:
    description: How many versions stay, with the current one.
    type: int
    default: 3
  in_use:
    description: Versions that systems boot.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells the plan and changes nothing.
    support: full
  diff_mode:
    description: The versions before and after.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: node_image | Look at what the server lacks
  updraft.cloud.node_store:
    path: /var/lib/updraft/images
    manifest: "{{ built.manifest }}"

- name: node_image | Go back to an older version
  updraft.cloud.node_store:
    path: /var/lib/updraft/images
    version: 0123456789ab
"""

RETURN = r"""
missing:
  description: Files to push, in this order.
  returned: with O(manifest)
  type: list
  elements: str
current:
  description: The manifest of the current version, without its packages.
  returned: with O(version)
  type: dict
versions:
  description: All versions that are there in the end.
  returned: with O(version)
  type: list
  elements: str
removed:
  description: Versions that were removed, or would be.
  returned: with O(version)
  type: list
  elements: str
kept_in_use:
  description: Old versions which stay because systems boot them.
  returned: with O(version)
  type: list
  elements: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils.image_recipe import ImageError
from ansible_collections.updraft.cloud.plugins.module_utils.node_store import Store, difference, plan, safe_versions

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "manifest": {"type": "dict"},
    "version": {"type": "str"},
    "keep": {"type": "int", "default": 3},
    "in_use": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    """Run as an Ansible module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        mutually_exclusive=[("manifest", "version")],
        required_one_of=[("manifest", "version")],
    )
    wanted = module.params
    store = Store(Path(wanted["path"]))
    if wanted["manifest"] is not None:
        module.exit_json(changed=False, missing=store.missing(wanted["manifest"]))
    before = store.read()
    try:
        todo = plan(before, wanted["version"], wanted["keep"], safe_versions(wanted["in_use"]))
        if todo and not module.check_mode:
            store.apply(todo)
    except (ImageError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(todo),
        current=store.manifest(wanted["version"]),
        versions=sorted(set(before.versions) - set(todo.remove)),
        removed=list(todo.remove),
        kept_in_use=list(todo.kept_in_use),
        diff=difference(before, todo),
    )


if __name__ == "__main__":
    main()
