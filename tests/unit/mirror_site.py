# SPDX-License-Identifier: GPL-3.0-or-later
"""Both servers of a mirror that are not real, with the verbs of the playbooks and a watch on each."""

from __future__ import annotations

from ansible_collections.updraft.cloud.plugins.module_utils import mirror_converge
from ansible_collections.updraft.cloud.plugins.module_utils.mirror_watch import Watch
from tests.unit.mirror_fake import World, attempt

OFF = {"planned": False, "off": True, "accept_loss": False}
PLANNED = {"planned": True, "off": False, "accept_loss": False}


class Site(World):
    """Both servers, with the verbs of the playbooks and a watch on each."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = {name: Watch(mirror) for name, mirror in self.mirrors.items()}

    def look(self, seconds: int = 12) -> None:
        """Let time pass: each server that is on looks once a second."""
        for _ in range(seconds):
            self.clock += 1
            for name, watch in self.watches.items():
                if self.servers[name].on:
                    attempt(lambda watch=watch: watch.look(self.clock))
                    self.servers[name].copied()
            self.check()

    def cycle(self, name: str) -> None:
        """Cut the power of a server, and give it back."""
        self.servers[name].power_off()
        self.servers[name].power_on()
        self.watches[name] = Watch(self.mirrors[name])

    def healthy(self, name: str) -> None:
        """Check that this one serves, and everything is on both."""
        assert self.serving() == [name]
        assert self.servers[name].running()["volumes0"].whole
        for server in self.servers.values():
            assert server.disk.writes >= self.acknowledged
        assert self.other(name).store.state.complete


def whole() -> Site:
    """Return a mirror which storage1 serves."""
    made = Site()
    mirror_converge.converge(made.mirrors["storage2"])
    mirror_converge.converge(made.mirrors["storage1"])
    made.look()
    made.write()
    made.healthy("storage1")
    return made


def fail_over(site: Site, old: str, new: str) -> None:
    """Do as the playbook does after a planned handover: both verbs, and again where they were cut."""
    generation = site.mirrors[old].demote()["generation"]
    site.mirrors[new].promote(generation, **PLANNED)
