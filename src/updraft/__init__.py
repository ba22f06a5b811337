# SPDX-License-Identifier: GPL-3.0-or-later
"""Python that runs outside Ansible: the command line, the runs, the tests."""
