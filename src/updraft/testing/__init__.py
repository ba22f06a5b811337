# SPDX-License-Identifier: GPL-3.0-or-later
"""`./updraft test`: everything that a change has to pass, as named checks in a fixed order."""
