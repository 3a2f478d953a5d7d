"""A small servable repository, built for real: the project's heads over a taxonomy of a few nodes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from inference.serving.build import Built, Sources, build
from tests.unit.encoder_fixture import CACHE

TAXONOMY = """id\tparent\ten\tzh
clothing\t\tClothing\t服装
clothing.dresses\tclothing\tDresses\t连衣裙
shoes\t\tShoes\t鞋
shoes.running\tshoes\tRunning Shoes\t跑步鞋
phones\t\tPhones\t手机
phones.cases\tphones\tPhone Cases\t手机壳
"""
SCHEMA = {
    "attributes": {
        "brand": {"en": "Brand", "zh": "品牌", "type": "text"},
        "color": {"en": "Color", "zh": "颜色", "type": "text"},
        "size": {"en": "Size", "zh": "尺码", "type": "text"},
    },
    "nodes": {"": ["brand", "color"], "shoes": ["size"]},
}


def small_sources(folder: Path, weights: Path | None = None) -> Sources:
    """The files above, written to `folder`."""
    taxonomy, schema = folder / "taxonomy.tsv", folder / "attributes.json"
    taxonomy.write_text(TAXONOMY)
    schema.write_bytes(msgspec.json.encode(SCHEMA))
    found = Sources(taxonomy=taxonomy, schema=schema, cores=2)
    return found if weights is None else Sources(taxonomy=taxonomy, schema=schema, weights=weights, cores=2)


def build_small(folder: Path, out: Path | None = None, weights: Path | None = None) -> Built:
    """Built into `out`, by default `folder/models`; costly parts from the tests' cache."""
    return build(out or folder / "models", small_sources(folder, weights), cache=CACHE)
