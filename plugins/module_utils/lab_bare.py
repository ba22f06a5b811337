# SPDX-License-Identifier: GPL-3.0-or-later
"""Lab machines which are bare: QEMU with real firmware, network cards and memory, and nothing to start from but those.

They stand for a server out of its box. Nothing is written into them from outside; what they show is on their console.
"""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from ansible_collections.updraft.cloud.plugins.module_utils.lab_host import kill, run
from ansible_collections.updraft.cloud.plugins.module_utils.lab_qemu import VirtualMachine, board, card, disk
from ansible_collections.updraft.cloud.plugins.module_utils.lab_site import LabError, Machine, Site, size_bytes

#: UEFI of Debian's package ovmf: the code, and the variables that each machine has of its own.
FIRMWARE = Path("/usr/share/OVMF")
UEFI_CODE, UEFI_VARIABLES = "OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"
ASK_AGAIN_SECONDS = 1.0
#: How the code of a machine looks on its console (roles/node_image/files/updraft-register prints it). Firmware shows
#: identifiers there, too, in which such words are parts of longer ones.
CODE = re.compile(r"(?<![\w-])([0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4})(?![\w-])")


class BareMachine(VirtualMachine):
    """One machine without a system: its disks, if it has any, are empty until it writes to them itself."""

    def power_on(self) -> bool:
        """Switch it on, if it is off; return whether it was."""
        if self.running():
            return False
        self.connect()
        self.add_disks()
        self.console.unlink(missing_ok=True)
        self.launch(bare_arguments(self))
        return True

    def add_disks(self) -> None:
        """Make the disks that are missing, empty; they take space when they are written to."""
        for number, size in enumerate(self.machine.disks):
            path = bare_disk(self.state, number)
            if not path.exists():
                run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size_bytes(size))])

    def cut_power(self) -> bool:
        """Take its power away at once; return whether it had any."""
        pid = self.pid()
        if pid is not None:
            kill(pid)
        return pid is not None

    def code(self) -> str | None:
        """Return the code that its console shows last; None when there is none yet."""
        try:
            found = CODE.findall(self.console.read_text(errors="replace"))
        except FileNotFoundError:
            return None
        return found[-1] if found else None


def bare_disk(state: Path, number: int) -> Path:
    """Return the file of a disk; the first is /dev/vda in the machine."""
    return state / f"disk{number}.qcow2"


def bare_arguments(vm: BareMachine) -> list[str]:
    """Return the command line of QEMU: firmware tries the first network card, and what that loads decides the rest.

    A stock guest is not known to start under this computer's KVM before a system is in it, so that it is not tried.
    """
    command = board(vm, "tcg")
    serial = vm.machine.serial or f"{vm.site.name}-{vm.machine.name}".upper()
    command += ["-smbios", f"type=1,manufacturer=Updraft,product=Lab,serial={serial}", "-boot", "order=n"]
    if vm.machine.firmware == "uefi":
        variables = vm.state / UEFI_VARIABLES
        if not variables.exists():
            shutil.copyfile(FIRMWARE / UEFI_VARIABLES, variables)
        command += ["-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / UEFI_CODE}"]
        command += ["-drive", f"if=pflash,format=raw,file={variables}"]
    for number in range(len(vm.machine.disks)):
        command += disk(number, bare_disk(vm.state, number), "qcow2", f"{vm.machine.name}-{number}")
    # The iPXE in QEMU's cards may be too old to find a disk under UEFI: the firmware then loads the server's own.
    first = "bootindex=1,romfile=" if vm.machine.firmware == "uefi" and vm.machine.disks else "bootindex=1"
    for number, link in enumerate(vm.machine.links):
        command += card(number, link, first if number == 0 else "romfile=")
    return command


def wait_for_codes(site: Site, machines: list[Machine], limit: float) -> dict[str, str]:
    """Wait until the console of each machine shows a code; return them by name, or raise LabError with a console."""
    begin = time.monotonic()
    while True:
        found = {machine.name: BareMachine(site, machine).code() for machine in machines}
        lacking = [machine for machine in machines if not found[machine.name]]
        if not lacking:
            return {name: code for name, code in found.items() if code}
        dead = [machine for machine in lacking if not BareMachine(site, machine).running()]
        if dead or time.monotonic() - begin > limit:
            machine = (dead or lacking)[0]
            why = "has stopped" if dead else f"shows no code after {limit:.0f} s"
            raise LabError(f"{machine.name} {why}; see {BareMachine(site, machine).console}")
        time.sleep(ASK_AGAIN_SECONDS)
