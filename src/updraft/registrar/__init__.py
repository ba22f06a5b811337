# SPDX-License-Identifier: GPL-3.0-or-later
"""The registrar: machines that boot tell it what they are, and operators say which of them join the cloud.

It runs on a control host under Debian's own Python and packages, and imports nothing else of Updraft.
docs/registration.md has the protocol and what may be trusted.
"""
