"""For every test: the processes that tests start may keep what they compile.

Hundreds are started, and to compile streamkit and an SDK anew costs two thirds of what a short one takes.
"""

from __future__ import annotations

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
