"""Under which licences the data sets are that the heads were fitted on, as their sources state them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """licence: as stated by the source. commercial: whether it allows commercial use; a licence that is not stated
    does not."""

    source: str
    licence: str
    commercial: bool


NOT_STATED = "none stated"
DATA_SETS = {
    "attributes": DataSet("AE-110K, OA-Mine (ExtractGPT); PAVE (WDC)", "Apache-2.0 in part, else none stated", False),
    "spans_zh": DataSet("MultiDigraphNER, e-commerce (ACL 2019)", NOT_STATED, False),
    "zh_store_titles": DataSet("guluxilin/detection", NOT_STATED, False),
    "fashion": DataSet("Fashion product images (small)", NOT_STATED, False),
    "pricerunner": DataSet("PriceRunner aggregate", NOT_STATED, False),
    "retail_demo": DataSet("AWS retail demo store", "MIT-style", True),
    "cold_zh": DataSet("COLDataset (EMNLP 2022)", "see source", False),
    "hate_en": DataSet("t-davidson", "MIT", True),
    "advertisegen": DataSet("AdvertiseGen", NOT_STATED, False),
    "dev halves": DataSet("one half of the attribute and span development rows", "as theirs", False),
    "pairs by hand": DataSet("the project's own", "Apache-2.0", True),
    "own": DataSet("the platform's own rows", "its own", True),
}
"""By the names under `rows` in the heads' JSON files."""
