"""`shangxin enrich` whole: the real broker, the real Triton, and the same listing through `--file`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.embedded.ports import pick_ports
from deploy.embedded.progress import ConsoleReport
from deploy.embedded.stack import TRITON, Addresses, Stack
from stream.settings import Settings
from tests.enrichment_env import Env
from tests.unit.models_fixture import build_small
from tests.worker_kit import ROOT, eventually

pytestmark = [pytest.mark.triton, pytest.mark.broker]

LISTINGS: list[dict[str, Any]] = [
    {
        "product_id": "p1",
        "title": "Nike running shoes, black, size 42",
        "brand": "Nike",
        "price": 120.0,
        "currency": "EUR",
    },
    {"product_id": "p2", "title": "红色连衣裙 夏季新款", "language": "zh"},
    {"product_id": "p3", "title": "Silicone case for a phone", "attributes": {"color": "blue"}},
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository of the project's own model."""
    return build_small(tmp_path_factory.mktemp("enriched")).folder


async def test_the_worker_and_the_file_mode_say_the_same(
    env: Env, models: Path, triton_server: Callable[[Path], Addresses], tmp_path: Path
) -> None:
    for fields in LISTINGS:
        await env.emit(**fields)
    url = triton_server(models).triton_grpc
    worker = env.start(real=True, TRITON__URL=url)
    await env.settled()
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    served = await env.newest()
    assert served.keys() == {"p1", "p2", "p3"}
    read = by_file(models, tmp_path)
    for product, listing in served.items():
        assert listing is not None
        assert listing["status"] == "enriched"
        same = read[product]
        assert listing["category"]["node"] == same["category"]["node"]
        assert listing["models"] == same["models"]
        assert values(listing) == values(same)
        assert listing["safety"]["score"] == pytest.approx(same["safety"]["score"], abs=1e-3)
        for attribute in listing.get("attributes", []):
            check_evidence(listing["listing"], attribute)


async def test_a_model_server_that_comes_later_is_waited_for_and_used(
    env: Env, models: Path, stack_settings: Settings, tmp_path: Path
) -> None:
    (port,) = pick_ports(["grpc"], [0])
    await env.emit(**LISTINGS[0])
    worker = env.start(real=True, TRITON__URL=f"127.0.0.1:{port}")
    await eventually("it says what it waits for", lambda: "is not there yet" in worker.get("/readyz")[1])
    assert worker.get("/readyz")[0] == 503
    own = stack_settings.stack.model_copy(update={"run_dir": tmp_path / "run", "triton_grpc_port": port})
    settings = stack_settings.model_copy(update={"stack": own})
    stack = Stack(settings, parts=[TRITON], models=models, keep_state=False, report=ConsoleReport())
    await asyncio.to_thread(stack.up)
    try:
        await worker.ready()
        await env.settled()
        (listing,) = (await env.newest()).values()
        assert listing is not None
        assert listing["status"] == "enriched"
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0
    finally:
        await asyncio.to_thread(stack.down)


def values(listing: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and producer of each attribute."""
    return [(a["name"], a["value"], a["producer"]["kind"]) for a in listing.get("attributes", [])]


def check_evidence(source: dict[str, Any], attribute: dict[str, Any]) -> None:
    """A model's value stands where it says."""
    if attribute["producer"]["kind"] == "model":
        place = attribute["evidence"]
        assert source[place["field"]][place["start"] : place["end"]] == attribute["value"]


def by_file(models: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """The same listings through `shangxin enrich --file`, with a bad line among them."""
    source, out = folder / "in.jsonl", folder / "out.jsonl"
    source.write_text("\n".join([*(json.dumps(each) for each in LISTINGS), '{"product_id": "p4"}']))
    command = [sys.executable, "-m", "stream.cli.main", "enrich", "--file", str(source), "--out", str(out)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "SHANGXIN_STACK__MODELS_DIR": str(models)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "line 4: $.title: a required field is not there" in done.stderr
    return {each["product_id"]: each for each in map(json.loads, out.read_text().splitlines())}
