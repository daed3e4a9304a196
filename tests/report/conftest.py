"""A real browser, and a page about two real jobs of two ranks, one of which has failed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("program.py")
STEPS = 1_500


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return the run directories of two jobs, ``fast`` and ``slow``; rank 1 of the second dies."""
    root = tmp_path_factory.mktemp("jobs")
    spool = root / "spool"
    spool.mkdir(mode=0o700)
    environment = {**os.environ, "ASYNCLOG_SPOOL_DIR": str(spool), "WORLD_SIZE": "2"}
    for name, rate, end in (("fast", "3.0", "end"), ("slow", "1.0", "die")):
        ranks = " & ".join(
            f"RANK={rank} {sys.executable} {PROGRAM} {rate} {STEPS} {end}" for rank in (0, 1)
        )
        command = f"{ranks} & first=$!; wait $first; status=$?; wait; exit $status"
        run = subprocess.run(
            [
                *(sys.executable, "-m", "asynclog.cli", "run", "--run-dir", str(root / name)),
                *("--", "sh", "-c", command),
            ],
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert run.returncode == (1 if end == "die" else 0), run.stderr
    return [root / "fast", root / "slow"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start a headless Chromium that cannot reach any network."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--force-device-scale-factor=1",
        "--window-size=1400,1000",
        "--proxy-server=127.0.0.1:9",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()
