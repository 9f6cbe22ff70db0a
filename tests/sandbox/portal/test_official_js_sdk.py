"""The official JavaScript SDK, unchanged, on Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from airflow_provider_b24.sandbox import SandboxPortal

SDK = "@bitrix24/b24jssdk@2.2.0"
SCRIPT = Path(__file__).with_name("official_js_sdk.mjs")


def _leave_out(reason: str) -> NoReturn:
    """Skip the test; in CI what it needs must be there."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def sdk(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder whose scripts find the SDK; downloaded once into pytest's cache."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _leave_out("The official JavaScript SDK needs Node: there is no node or no npm")
    cache = getattr(request.config, "cache", None)  # the matrix does without
    folder = Path(cache.mkdir("b24jssdk")) if cache else tmp_path
    if not (folder / "node_modules" / "@bitrix24" / "b24jssdk").is_dir():
        install = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", SDK]
        got = subprocess.run(install, capture_output=True, text=True, timeout=300, check=False)
        if got.returncode:
            _leave_out(f"The official JavaScript SDK could not be downloaded: {got.stderr[-300:]}")
    return folder


def test_it_reads_lists_batches_and_is_refused(sdk: Path) -> None:
    script = sdk / SCRIPT.name
    script.write_text(SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    with SandboxPortal(https=True) as portal:
        portal.add_records("deal", [{"TITLE": f"Deal {n}", "OPPORTUNITY": n} for n in range(1, 131)])
        known = {"WEBHOOK": portal.webhook.url, "NODE_EXTRA_CA_CERTS": str(portal.ca_file)}
        done = subprocess.run(
            ["node", script],
            env={**os.environ, **known},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["title"] == "Deal 7"
    assert told["ids"] == list(range(6, 131))
    assert (told["batched"]["who"]["NAME"], told["batched"]["added"]) == ("Ada", 131)
    assert told["refused"] == ["INVALID_ARG_VALUE", "Invalid filter: field '<id' is not allowed in filter"]
