"""A Triton model that gives its texts back, with the number of the execution and how many rows shared it."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """As the Python backend wants it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Nothing has been executed yet."""
        self._calls = 0

    def execute(self, requests: list[Any]) -> list[Any]:
        """TEXT_OUT: TEXT. CALL: execution number and its rows. PYTHON: where the model's Python lives."""
        self._calls += 1
        texts = [pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy() for request in requests]
        rows = sum(len(text) for text in texts)
        return [self._answer(text, rows) for text in texts]

    def _answer(self, text: Any, rows: int) -> Any:
        call = np.tile(np.array([[self._calls, rows]], dtype=np.int32), (len(text), 1))
        python = np.full((len(text), 1), f"{sys.prefix} numpy {np.__version__}".encode(), dtype=object)
        tensors = {"TEXT_OUT": text, "CALL": call, "PYTHON": python}
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, value) for name, value in tensors.items()])
