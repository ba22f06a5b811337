# SPDX-License-Identifier: GPL-3.0-or-later
"""The end state of a converged cloud as plain lines, so that two runs can be compared.

Each host prints one line per fact: managed files with owner, mode and content hash, units with their state,
listening addresses, logical volumes, Open vSwitch settings; the control host adds what the APIs list by name.
What differs between any two honest runs by nature (keys, certificates, identifiers, process ids) is left out or
replaced by its shape. Used by ``tests/lab/cut.py``.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from updraft.labshell import ssh
from updraft.site import Site, find_site

HOST_SCRIPT = r"""
set -u
managed() {
  find /etc \( -path /etc/ssl -o -path '*/tls' -o -path '*/fernet-keys' -o -path '*/credential-keys' \
    -o -path '/etc/pki/*' -o -path /etc/lvm/archive -o -path /etc/lvm/backup -o -path /etc/machine-id \
    -o -path /etc/systemd/system -o -path /etc/ssh -o -path /etc/iscsi/nodes -o -path /etc/iscsi/send_targets \
    -o -name '*.cache' -o -name '*-' -o -path /etc/.pwd.lock -o -path /etc/openvswitch/conf.db \
    -o -path /etc/openvswitch/.conf.db.~lock~ -o -path '/etc/libvirt/qemu' -o -path '/etc/libvirt/nwfilter' \
    -o -path /etc/libvirt/secrets \) -prune -o -type f -print0 | sort -z
}
managed | xargs -0 -r stat -c '%n %U:%G %a' | sed 's/^/mode /'
managed | xargs -0 -r sha256sum | sed 's/^/file /'
find / -xdev \( -name tls.crt -o -name tls.key -o -name ca.crt \) -printf 'certificate %p %u:%g %m\n' 2>/dev/null | sort
systemctl list-units --all --no-legend --plain --type=service,socket,timer,mount |
  awk '$3 == "active" && $4 != "exited" {print "unit", $1, $3, $4}' |
  grep -vE 'session-|user@|user-runtime|run-|tmp-' | sort
systemctl list-unit-files --no-legend --state=enabled,masked | awk '{print "unit-file", $1, $2}' | sort
ss -Htulpn | awk '{split($7, p, "\""); print "listens", $1, $5, p[2]}' | grep -v '127.0.0.1\|\[::1\]' | sort -u
ip -br addr | awk '$1 !~ /^(tap|vnet|genev|ovs-system|lo)/ {sub(/@.*/, "", $1); print "address", $1, $3}' |
  grep -v fe80 | sort
command -v lvs >/dev/null && lvs --noheadings -o vg_name,lv_name,lv_attr 2>/dev/null | sed 's/^ */lv /'
command -v ovs-vsctl >/dev/null && systemctl -q is-active ovsdb-server &&
  { ovs-vsctl --bare --columns=external_ids list Open_vSwitch; ovs-vsctl list-br; } |
    tr ' ' '\n' | grep -v rundir | sort | sed 's/^/ovs /'
exit 0
"""

CONTROL_SCRIPT = r"""
export OS_CLOUD=admin
for what in 'user -c Name' 'project -c Name' 'role -c Name' 'service -c Name -c Type' \
            'endpoint -c "Service Name" -c Interface -c URL' 'network -c Name' 'subnet -c Name -c Subnet' \
            'router -c Name' 'flavor -c Name -c RAM -c Disk -c VCPUs' 'image -c Name -c Status' \
            'aggregate -c Name' 'hypervisor -c "Hypervisor Hostname" -c State' \
            'compute service -c Binary -c Host -c Status -c State' \
            'volume service -c Binary -c Host -c Status -c State' \
            'network agent -c "Agent Type" -c Host -c Alive'; do
  name=${what%% -c*}; columns=${what#"$name"}
  eval "openstack $name list -f value $columns" 2>&1 | sort | sed "s/^/api $name: /"
done
mariadb -N -e 'select user, host from mysql.user order by 1, 2; show databases' | sed 's/^/database /'
rabbitmqctl -q list_permissions | sort | sed 's/^/messaging /'
nova-manage cell_v2 list_cells 2>/dev/null | awk -F'|' '{print "cell", $2}' | sort
"""


def of_host(site: Site, host: str, script: str) -> list[str]:
    """Run ``script`` on ``host`` and return its lines, each led by the host's name."""
    done = subprocess.run(
        [*ssh(site, host), "bash", "-s"],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [f"{host}: {line}" for line in done.stdout.splitlines()]


def fingerprint(site: Site, hosts: list[str], control: str) -> list[str]:
    """Return the sorted facts of all ``hosts`` of a lab."""
    jobs = [(host, HOST_SCRIPT) for host in hosts] + [(control, CONTROL_SCRIPT)]
    with ThreadPoolExecutor(max_workers=len(jobs)) as pool:
        parts = list(pool.map(lambda job: of_host(site, *job), jobs))
    return sorted({line for part in parts for line in part})


if __name__ == "__main__":
    print("\n".join(fingerprint(find_site(sys.argv[1]), sys.argv[2].split(","), sys.argv[3])))
