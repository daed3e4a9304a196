"""Benchmarks: every library under the same scenarios; run as ``python -m bench``."""
