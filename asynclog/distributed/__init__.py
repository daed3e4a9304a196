"""Processes of a job: what `asynclog run` starts, reads and reports."""

from __future__ import annotations
