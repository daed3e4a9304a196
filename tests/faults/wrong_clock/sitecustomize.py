"""Makes the wall clock wrong in every Python program that has this directory on its path.

The board that the variable BOARD names says by how much, at every instant anew.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from board import Board

_board = Board(Path(os.environ["BOARD"]), 0)
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + _board.shift
time.time_ns = lambda: _time_ns() + _board.shift * 10**9
