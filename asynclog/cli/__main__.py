"""`python -m asynclog.cli` for `asynclog`."""

from __future__ import annotations

from . import main

if __name__ == "__main__":
    main(prog_name="asynclog")
