# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.certificates: all certificates of a machine, signed by the site's authority."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificates
short_description: Give a machine its certificates, signed by the site's authority on the controller
version_added: 0.1.0
description:
  - Each certificate is C(tls.crt), C(tls.key) and C(ca.crt) in a directory. Its key (ECDSA, P-256) is
    made on the target and never leaves it; only a request goes to the controller, which signs it. The
    authority's key never leaves the controller.
  - A new key and certificate are made where there is none, where it expires within O(renew_days), where
    its names or addresses are not those wanted, where another authority signed it, and where key and
    certificate are not a pair.
  - One round trip where nothing has to be signed, two otherwise, for all certificates of the host
    together.
options:
  certificates:
    description: The certificates of this host.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is for. Not used by the module.
        type: str
      directory:
        description: Where its three files lie. Made, with mode 0755, if it is not there.
        type: path
        required: true
      owner:
        description: Owner of the key, whose mode is 0640. In check mode one that does not exist yet is
          noted.
        type: str
        default: root
      group:
        description: Group of the key.
        type: str
        default: root
      names:
        description: DNS names it is good for. The first is its common name.
        type: list
        elements: str
        required: true
      addresses:
        description: IP addresses it is good for.
        type: list
        elements: str
        default: []
  ca_certificate:
    description: Certificate of the authority, PEM.
    type: str
    required: true
  ca_key:
    description: Key of the authority, PEM without a password. Used on the controller only.
    type: str
    required: true
  renew_days:
    description: Days before it expires from which a certificate is replaced.
    type: int
    default: 30
  valid_days:
    description: Days for which a certificate is signed.
    type: int
    default: 365
  trust:
    description: Adds the authority to those that the machine's own programs trust
      (C(/etc/ssl/certs/ca-certificates.crt)).
    type: bool
    default: true
requirements:
  - python3-cryptography and ca-certificates on the target
attributes:
  check_mode:
    description: Tells which certificates would be made and why, also where the packages are not there
      yet.
    support: full
  diff_mode:
    description: Names, addresses, issuer and last day, never keys.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: pki | Give the host its certificates
  updraft.cloud.certificates:
    certificates:
      - directory: /etc/mysql/tls
        group: mysql
        names: [control1.example.org, control1, localhost]
        addresses: [10.77.0.10, 127.0.0.1]
    ca_certificate: "{{ pki_ca_certificate }}"
    ca_key: "{{ pki_ca_key }}"
"""

RETURN = r"""
issued:
  description: For each directory which got, or in check mode would get, a new certificate the reason.
  returned: success
  type: dict
  sample: {/etc/mysql/tls: there is none yet}
changed_paths:
  description: Files which were, or in check mode would be, made or changed.
  returned: success
  type: list
  elements: str
  sample: [/etc/mysql/tls/tls.key, /etc/mysql/tls/tls.crt]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.updraft.cloud.plugins.module_utils import certificates
from ansible_collections.updraft.cloud.plugins.module_utils.certificates import CertificatesError, Wanted
from ansible_collections.updraft.cloud.plugins.module_utils.files import FilesError

# What the action sends; what a task may say is in the documentation above.
ARGUMENT_SPEC = {
    "phase": {"type": "str", "choices": ["inspect", "install"], "required": True},
    "certificates": {"type": "list", "elements": "dict", "required": True},
    "ca_certificate": {"type": "str", "required": True},
    "renew_days": {"type": "int", "required": True},
    "trust": {"type": "bool", "required": True},
    "signed": {"type": "dict", "default": {}},
}


def inspect(module: AnsibleModule, wanted: list[Wanted]) -> None:
    """Answer the first round trip."""
    given = module.params
    outcome = certificates.inspect(
        wanted, given["ca_certificate"], given["renew_days"], is_trusted=given["trust"], check=module.check_mode
    )
    for note in outcome.notes:
        module.warn(note)
    result = {
        "changed": bool(outcome.changed_paths),
        "changed_paths": outcome.changed_paths,
        "issued": outcome.issue,
        "requests": outcome.requests,
    }
    if module._diff:
        result["diff"] = outcome.diff
    module.exit_json(**result)


def main() -> None:
    """Do one of the two halves."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        wanted = [Wanted.of(given) for given in module.params["certificates"]]
        if module.params["phase"] == "inspect":
            inspect(module, wanted)
        certificates.install(wanted, module.params["ca_certificate"], module.params["signed"])
    except (CertificatesError, FilesError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
