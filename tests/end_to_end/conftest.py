"""What tests of pages share: a browser, and where pictures are kept."""

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def evidence(root):
    """Folder of the pictures that are kept."""
    folder = Path(os.environ.get("LIGHTMILL_EVIDENCE", root / "build" / "evidence"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; skips, loudly, where there is none."""
    found = os.environ.get("LIGHTMILL_CHROMIUM") or shutil.which("chromium")
    if not found:
        pytest.skip("NO CHROMIUM: apt-get install chromium, or name one in LIGHTMILL_CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api", reason="NO PLAYWRIGHT: pip install")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=quiet)
        yield chromium
        chromium.close()
