# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine made by virsh on a storage pool goes on while the storage servers under its disk change places.

    PYTHONPATH=src:. .updraft/venv/bin/python tests/drill/virsh_machine.py

On inventories/lab-storage, where there are no control services. Its disk is a volume of the pool `vms`, as an operator
would name it to virsh; see guest.py for what its guest does meanwhile. What it tells comes by its serial console.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

from guest import Guest, main
from machines import Machine, Wrong

from ansible_collections.updraft.cloud.plugins.module_utils.guest_image import COMMAND_LINE

POOL, VOLUME = "vms", "web"
NAME, FOLDER = "drill", "/var/lib/libvirt/images/drill"
CONSOLE = f"/var/log/libvirt/qemu/{NAME}-console.log"
#: The share of all guests in the processor where others want it, too; 100 is usual. The hypervisor of the lab has one
#: processor, an emulated one, of which an idle guest takes a third: what the node is asked would wait for that.
CPU_WEIGHT = 10
DOMAIN = """
<domain type='{kind}'>
  <name>{name}</name>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64'>hvm</type>
    <kernel>{folder}/kernel</kernel>
    <initrd>{folder}/ramdisk</initrd>
    <cmdline>{words}</cmdline>
  </os>
  <features><acpi/></features>
  <devices>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='directsync' io='native'/>
      <source dev='{disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'><model type='virtio'/></interface>
    <serial type='file'><source path='{console}'/></serial>
    <console type='file'><source path='{console}'/></console>
  </devices>
</domain>
"""


def told(console: str, name: str) -> str:
    """The newest whole page of this name on a guest's console; empty where there is none."""
    lines = console.replace("\r", "").splitlines()
    ends = [number for number, line in enumerate(lines) if line == f"end {name}"]
    begins = [number for number, line in enumerate(lines) if line == f"page {name}" and ends and number < ends[-1]]
    return "".join(f"{line}\n" for line in lines[begins[-1] + 1 : ends[-1]]) if begins else ""


class VirshMachine(Guest):
    """The machine, on node1."""

    def __init__(self, inventory: str) -> None:
        super().__init__(inventory)
        self.node = Machine(self.site, "node1")

    def virsh(self, words: str, *, data: str = "") -> str:
        """Run virsh on the node. Raises Wrong."""
        return self.node.must(f"virsh --quiet --connect qemu:///system {words}", data=data)

    def make(self) -> None:
        """Put the tiny guest on the volume, and start a machine from it."""
        listed = dict(line.split() for line in self.virsh(f"vol-list {POOL}").splitlines() if line.strip())
        if VOLUME not in listed:
            raise Wrong(f"libvirt's pool {POOL} has no volume {VOLUME}, but {', '.join(listed) or 'none'}")
        disk = listed[VOLUME]
        self.remove()
        archive = self.guest_image()
        self.node.must(f"mkdir -p {FOLDER} && tar -xf {archive} -C {FOLDER}", limit=300)
        self.node.must(f"dd if={FOLDER}/disk of={disk} bs=1M oflag=direct conv=fsync status=none", limit=300)
        kind = "kvm" if "<domain type='kvm'" in self.virsh("capabilities") else "qemu"
        self.node.must(f"systemctl set-property --runtime machine.slice CPUWeight={CPU_WEIGHT}")
        given = {
            "kind": kind,
            "name": NAME,
            "folder": FOLDER,
            "words": f"{COMMAND_LINE} updraft.write",
            "disk": disk,
            "console": CONSOLE,
        }
        described = DOMAIN.format(**{key: escape(text) for key, text in given.items()})
        self.refused(described.replace("cache='directsync'", "cache='none'"))
        self.virsh("define /dev/stdin", data=described)
        self.virsh(f"start {NAME}")

    def refused(self, described: str) -> None:
        """It does not start where QEMU does not ask with each write that it is kept. Raises Wrong."""
        self.virsh("define /dev/stdin", data=described)
        said = self.node.run(f"virsh --connect qemu:///system start {NAME}").stderr
        self.virsh(f"undefine {NAME}")
        if f"disk vda is the volume /dev/updraft/{POOL}/{VOLUME}: what it writes could be lost" not in said:
            raise Wrong(f"{NAME} was not refused for its cache, but libvirt said: {said or 'nothing'}")
        print(f"refused with cache='none': {said.strip()}", flush=True)

    def guest_image(self) -> str:
        """Have the node make the tiny guest from its own kernel; the archive."""
        ansible = str(Path(sys.executable).with_name("ansible"))
        self.command(ansible, self.node.name, "-i", self.inventory, "-m", "updraft.cloud.guest_image")
        return self.node.must("ls -t /var/cache/updraft/guest/*.tar | head -n 1").strip()

    def page(self, name: str) -> str:
        """What it told last by its console."""
        return told(self.node.run(f"tail -c 100000 {CONSOLE}", limit=60).stdout, name)

    def finish(self) -> None:
        """It runs still, by libvirt's word, from the volume and with an address of its own."""
        if self.virsh(f"domstate {NAME}").strip() != "running":
            raise Wrong(f"{NAME} does not run any more")
        text = self.node.must(f"cat {CONSOLE}")
        for what in ("volume mounted", "address"):
            if what not in text:
                raise Wrong(f"the guest did not say: {what}")
        self.remove()

    def remove(self) -> None:
        """Remove the machine, if it is there; the volume keeps what is on it."""
        self.node.run(f"virsh destroy {NAME}; virsh undefine {NAME}; rm -rf {FOLDER} {CONSOLE}")


if __name__ == "__main__":
    about = "A machine made by virsh goes on while storage servers change places."
    sys.exit(main(VirshMachine, about, "inventories/lab-storage"))
