# SPDX-License-Identifier: GPL-3.0-or-later
"""updraft.cloud.preflight_table: one table of all that does not fit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_table
short_description: Show all that does not fit on all hosts as one table, and fail if there is anything
version_added: 0.1.0
description:
  - Runs on the controller. Takes the results of M(updraft.cloud.preflight) and adds what only shows when
    hosts are seen together (two hosts which are one machine) and hosts which did not answer.
options:
  results:
    description: Host to the registered result of M(updraft.cloud.preflight).
    type: dict
    required: true
attributes:
  check_mode:
    description: Only reads.
    support: full
author: The Updraft developers
"""

EXAMPLES = r"""
- name: Preflight | Show what does not fit
  run_once: true
  updraft.cloud.preflight_table:
    results: "{{ dict(hosts | zip(hosts | map('extract', hostvars, '__preflight'))) }}"
  vars:
    hosts: "{{ ansible_play_hosts_all }}"
"""
