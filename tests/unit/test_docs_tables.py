"""The generated tables say what the code says, and every metric is complete."""

from __future__ import annotations

import re

import pytest

from stream.docs_tables import PAGES, drifted
from stream.metrics import METRICS, Kind, Meters

UNBOUNDED = {"product_id", "user_id", "id", "offset", "key", "url", "session_id"}


def test_generated_pages_are_current() -> None:
    assert drifted() == [], "run: make generate"


def test_settings_page_hides_secrets_and_explains_the_rule_of_the_fence() -> None:
    page = PAGES["settings.md"]()
    assert "| `SHANGXIN_KAFKA__SASL_PASSWORD` | `**********` |" in page
    assert "no produce unless the last heartbeat" in page


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_metric_follows_the_conventions(metric: object) -> None:
    from stream.metrics import Metric

    assert isinstance(metric, Metric)
    assert re.fullmatch(r"shangxin_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.meaning.endswith(".")
    assert metric.remedy.endswith(".")
    assert not UNBOUNDED & set(metric.labels)


def test_unlisted_metric_is_refused() -> None:
    with pytest.raises(KeyError):
        Meters().counter("shangxin_invented_total")
