"""The transport contract on the fake that the scheduler's own tests use, so that those rest on the real behaviour."""

from __future__ import annotations

import pytest

from tests.client_contract import TransportContract
from tests.unit.client_fake import FakeTransport


class TestFakeTransport(TransportContract):
    @pytest.fixture
    def transport(self) -> FakeTransport:
        return FakeTransport()
