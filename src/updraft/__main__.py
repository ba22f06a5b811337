# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m updraft`, which ./updraft ends in."""

import sys

from updraft.cli import main

sys.exit(main(sys.argv[1:]))
