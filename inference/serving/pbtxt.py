"""Triton's model configuration as dataclasses, written to and read from `config.pbtxt`.

Only what this project sets; reading refuses a field that it does not know, so that nothing is lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tensor:
    """An input or output. dims: without the batch dimension; -1 is any length."""

    name: str
    data_type: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Queue:
    """Dynamic batching and the bounds of its queue. timeout_us: a request that waited longer is refused. preferred:
    batch sizes that do not wait for more."""

    max_delay_us: int
    timeout_us: int
    max_size: int
    preferred: tuple[int, ...] = ()


@dataclass(frozen=True)
class WarmUp:
    """A request of zeros that is answered before the model is ready. inputs: with their dims spelt out."""

    name: str
    batch: int
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class ModelConfig:
    """One model. instances: processes that run it. parameters: what the model and the client read. file: of the
    model, where it is not the backend's usual one. accelerator: of the runtime on a GPU."""

    name: str
    backend: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    instances: int
    queue: Queue
    parameters: Mapping[str, str] = field(default_factory=dict)
    kind: str = "KIND_CPU"
    file: str = ""
    accelerator: str = ""
    warm_ups: tuple[WarmUp, ...] = ()


class PbtxtError(ValueError):
    """A configuration that this project did not write."""


def to_pbtxt(config: ModelConfig) -> str:
    """The text that Triton reads."""
    lines = [
        f"name: {json.dumps(config.name)}",
        f"backend: {json.dumps(config.backend)}",
        f"max_batch_size: {config.max_batch_size}",
        *([f"default_model_filename: {json.dumps(config.file)}"] if config.file else []),
        *(_tensor("input", each) for each in config.inputs),
        *(_tensor("output", each) for each in config.outputs),
        f"instance_group [ {{ count: {config.instances} kind: {config.kind} }} ]",
        _queue(config.queue),
        *(
            f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"
            for key, value in sorted(config.parameters.items())
        ),
        *([_accelerated(config.accelerator)] if config.accelerator else []),
        *(_warm_up(each) for each in config.warm_ups),
    ]
    return "\n".join(lines) + "\n"


def from_pbtxt(text: str) -> ModelConfig:
    """Read back what `to_pbtxt` wrote. Raises PbtxtError."""
    root = _message(_tokens(text), closing=None)
    parameters = {}
    for each in root.pop("parameters", []):
        parameters[_only(each, "key")] = _only(_only(each, "value"), "string_value")
    group = _only(root, "instance_group")
    config = ModelConfig(
        name=_only(root, "name"),
        backend=_only(root, "backend"),
        max_batch_size=_only(root, "max_batch_size"),
        inputs=tuple(_read_tensor(each) for each in root.pop("input", [])),
        outputs=tuple(_read_tensor(each) for each in root.pop("output", [])),
        instances=_only(group, "count"),
        queue=_read_queue(_only(root, "dynamic_batching")),
        parameters=parameters,
        kind=_only(group, "kind"),
        file=_at_most(root, "default_model_filename", ""),
        accelerator=_read_accelerated(root),
        warm_ups=tuple(_read_warm_up(each) for each in root.pop("model_warmup", [])),
    )
    if root:
        raise PbtxtError(f"unknown fields {sorted(root)}")
    return config


def _tensor(kind: str, tensor: Tensor) -> str:
    dims = ", ".join(str(dim) for dim in tensor.dims)
    return f"{kind} [ {{ name: {json.dumps(tensor.name)} data_type: {tensor.data_type} dims: [ {dims} ] }} ]"


def _queue(queue: Queue) -> str:
    policy = (
        f"timeout_action: REJECT default_timeout_microseconds: {queue.timeout_us} "
        f"allow_timeout_override: true max_queue_size: {queue.max_size}"
    )
    sizes = ", ".join(str(size) for size in queue.preferred)
    preferred = f"preferred_batch_size: [ {sizes} ] " if sizes else ""
    delay = f"max_queue_delay_microseconds: {queue.max_delay_us}"
    return f"dynamic_batching {{ {preferred}{delay} default_queue_policy {{ {policy} }} }}"


def _accelerated(name: str) -> str:
    accelerator = f"gpu_execution_accelerator [ {{ name: {json.dumps(name)} }} ]"
    return f"optimization {{ execution_accelerators {{ {accelerator} }} }}"


def _warm_up(each: WarmUp) -> str:
    inputs = " ".join(
        f"inputs {{ key: {json.dumps(tensor.name)} value {{ data_type: {tensor.data_type} "
        f"dims: [ {', '.join(str(dim) for dim in tensor.dims)} ] zero_data: true }} }}"
        for tensor in each.inputs
    )
    return f"model_warmup [ {{ name: {json.dumps(each.name)} batch_size: {each.batch} {inputs} }} ]"


def _read_tensor(found: dict[str, list[Any]]) -> Tensor:
    return Tensor(_only(found, "name"), _only(found, "data_type"), tuple(found["dims"]))


def _read_queue(found: dict[str, list[Any]]) -> Queue:
    policy = _only(found, "default_queue_policy")
    return Queue(
        _only(found, "max_queue_delay_microseconds"),
        _only(policy, "default_timeout_microseconds"),
        _only(policy, "max_queue_size"),
        tuple(found.pop("preferred_batch_size", [])),
    )


def _read_accelerated(root: dict[str, list[Any]]) -> str:
    if "optimization" not in root:
        return ""
    found = _only(_only(_only(root, "optimization"), "execution_accelerators"), "gpu_execution_accelerator")
    name: str = _only(found, "name")
    return name


def _read_warm_up(found: dict[str, list[Any]]) -> WarmUp:
    inputs = []
    for each in found.pop("inputs", []):
        value = _only(each, "value")
        inputs.append(Tensor(_only(each, "key"), _only(value, "data_type"), tuple(value["dims"])))
    return WarmUp(_only(found, "name"), _only(found, "batch_size"), tuple(inputs))


_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z_][A-Za-z0-9_]*)|(-?\d+)|([\[\]{}:,]))')


def _tokens(text: str) -> Iterator[tuple[str, Any]]:
    at, text = 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise PbtxtError(f"not understood at character {at}: {text[at : at + 20]!r}")
        at = match.end()
        string, word, number, mark = match.groups()
        if string:
            yield "value", json.loads(string)
        elif number:
            yield "value", int(number)
        else:
            yield ("word", word) if word else ("mark", mark)
    yield "end", None


def _message(tokens: Iterator[tuple[str, Any]], closing: str | None) -> dict[str, list[Any]]:
    """Fields of one message, each with all its values in order."""
    found: dict[str, list[Any]] = {}
    for kind, token in tokens:
        if (kind == "end" and closing is None) or (kind == "mark" and token == closing):
            return found
        if kind == "mark" and token == ",":
            continue
        if kind != "word":
            raise PbtxtError(f"expected a field, found {token!r}")
        found.setdefault(token, []).extend(_values(tokens))
    raise PbtxtError("it ends within a message")


def _values(tokens: Iterator[tuple[str, Any]]) -> list[Any]:
    kind, token = next(tokens)
    if (kind, token) == ("mark", ":"):
        kind, token = next(tokens)
    if (kind, token) == ("mark", "{"):
        return [_message(tokens, "}")]
    if (kind, token) != ("mark", "["):
        return [token]
    values: list[Any] = []
    for kind, token in tokens:
        if (kind, token) == ("mark", "]"):
            return values
        if (kind, token) == ("mark", "{"):
            values.append(_message(tokens, "}"))
        elif kind != "mark":
            values.append(token)
    raise PbtxtError("it ends within a list")


def _only(found: dict[str, list[Any]], name: str) -> Any:
    values = found.pop(name, [])
    if len(values) != 1:
        raise PbtxtError(f"{name} stands {len(values)} times, not once")
    return values[0]


def _at_most(found: dict[str, list[Any]], name: str, otherwise: Any) -> Any:
    return _only(found, name) if name in found else otherwise
