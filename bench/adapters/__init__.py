"""The libraries under test: one small module each, found by looking into this folder.

A further peer is one more file here with a subclass of ``Adapter``; it imports its library inside
``start`` so that no process loads any library but its own.
"""

from __future__ import annotations

import importlib
import pkgutil

from bench.adapters._base import Adapter, Call, Delay


def load_adapters() -> dict[str, type[Adapter]]:
    """Import every module of this folder and return the adapters by name, in their order."""
    for module in pkgutil.iter_modules(__path__):
        if not module.name.startswith("_"):
            importlib.import_module(f"{__name__}.{module.name}")
    found: list[type[Adapter]] = []
    pending = list(Adapter.__subclasses__())
    while pending:
        adapter = pending.pop()
        pending.extend(adapter.__subclasses__())
        if adapter.name:
            found.append(adapter)
    found.sort(key=lambda adapter: (adapter.order, adapter.name))
    return {adapter.name: adapter for adapter in found}


__all__ = ["Adapter", "Call", "Delay", "load_adapters"]
