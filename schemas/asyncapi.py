"""The AsyncAPI 3.0 document of all topics, generated from the list of topics and their types."""

from __future__ import annotations

import copy
from typing import Any

from schemas import deadletter
from schemas.bounds import ID_MAX, TEXT_MAX
from schemas.codec import Codec
from schemas.envelope import headers_of
from schemas.examples import VALUES, envelope
from schemas.jsonschema import Schema, components
from schemas.topics import TOPICS, Direction, Message, Topic

ASYNCAPI = "3.0.0"
KAFKA_BINDING = "0.5.0"
REF = "#/components/schemas/{name}"
AS_IT_CAME = "The bytes of the origin record, unchanged; they may be no JSON at all."


def document(version: str) -> Schema:
    """The whole document. version: of the schemas."""
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "shangxin",
            "version": version,
            "description": "Product and behaviour events in; enriched listings, profiles and features out. "
            "Topic names take a configurable prefix. CloudEvents 1.0, binary mode.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_id(topic): _channel(topic) for topic in TOPICS},
        "operations": dict(_operation(topic) for topic in TOPICS),
        "components": {
            "messages": {m.name: _message(topic, m) for topic in TOPICS for m in topic.messages},
            "schemas": _schemas(),
        },
    }


def _id(topic: Topic) -> str:
    first, *rest = topic.name.replace(".", "-").split("-")
    return first + "".join(part.capitalize() for part in rest)


def _channel(topic: Topic) -> Schema:
    return {
        "address": topic.name,
        "title": topic.name,
        "description": topic.about,
        "messages": {m.name: {"$ref": f"#/components/messages/{m.name}"} for m in topic.messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {"cleanup.policy": ["compact" if topic.compact else "delete"]},
                "bindingVersion": KAFKA_BINDING,
            }
        },
        "x-shangxin": {
            "key": topic.key,
            "partitioner": "murmur2",
            "partition-group": topic.partitions.value,
            "direction": topic.direction.value,
        },
    }


def _operation(topic: Topic) -> tuple[str, Schema]:
    action = "receive" if topic.direction is Direction.IN else "send"
    channel = _id(topic)
    messages = [{"$ref": f"#/channels/{channel}/messages/{m.name}"} for m in topic.messages]
    name = f"{action}{channel[0].upper()}{channel[1:]}"
    return name, {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "messages": messages}


def _message(topic: Topic, message: Message) -> Schema:
    found: Schema = {
        "name": message.ce_type or message.name,
        "title": message.name,
        "summary": message.about,
        "contentType": "application/json" if message.ce_type else "application/octet-stream",
        "headers": headers_schema(message),
        "payload": _payload(message),
        "bindings": {"kafka": {"key": _key(topic), "bindingVersion": KAFKA_BINDING}},
    }
    if message.ce_type:
        found["examples"] = [example(message)]
    return found


def _payload(message: Message) -> Schema:
    if message.value is not None:
        return {"$ref": REF.format(name=message.value.__name__)}
    if message.ce_type:
        return {"type": "null", "description": "No value: a tombstone."}
    return {"description": AS_IT_CAME if message.carried else message.about}


def _key(topic: Topic) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": ID_MAX, "description": f"The {topic.key}, UTF-8."}


def example(message: Message) -> Schema:
    """Headers and payload of one record of a message, as an AsyncAPI example."""
    headers = {name: value.decode() for name, value in headers_of(envelope(message.ce_type))}
    payload = (
        None
        if message.value is None
        else Codec(dict).decode(Codec(type(VALUES[message.name])).encode(VALUES[message.name]))
    )
    return {"name": message.name, "headers": headers, "payload": payload}


def headers_schema(message: Message) -> Schema:
    """JSON Schema of a record's headers, each read as UTF-8 text."""
    if message.carried:
        return _parked_headers()
    if not message.ce_type:
        return {"type": "object", "description": "None."}
    properties = {
        "ce_specversion": _text("CloudEvents version.", const="1.0"),
        "ce_id": _text("Unique within ce_source; a repeated id is dropped.", maxLength=ID_MAX),
        "ce_type": _text("What happened.", const=message.ce_type),
        "ce_source": _text("Who says so, a URI reference.", maxLength=TEXT_MAX),
        "ce_time": _text("When it happened, RFC 3339 with an offset.", format="date-time"),
        "content-type": _text("Of the value.", const="application/json"),
        "traceparent": _text("W3C trace context, passed on."),
    }
    required = ["ce_id", "ce_type", "ce_source", "ce_time"]
    return {"type": "object", "properties": properties, "required": required}


def _parked_headers() -> Schema:
    said = {
        deadletter.EXCEPTION: "Class of the error.",
        deadletter.MESSAGE: "The error in words.",
        deadletter.TOPIC: "Topic where the record stood.",
        deadletter.PARTITION: "Partition where it stood, decimal.",
        deadletter.OFFSET: "Offset where it stood, decimal.",
        deadletter.REASON: "Why, from a bounded set.",
        deadletter.FIELD: "The field or header at fault.",
        deadletter.VALUE: "What stood there, shortened.",
        deadletter.RULE: "What was expected.",
    }
    properties = {name: _text(about) for name, about in said.items()}
    about = "The record's own headers, followed by these."
    return {"type": "object", "description": about, "properties": properties, "required": list(said)}


def _text(about: str, **rules: Any) -> Schema:
    return {"type": "string", "minLength": 1, **rules, "description": about}


def _schemas() -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for topic in TOPICS:
        for type_ in topic.types:
            found.update(components(type_, REF))
    return {name: _draft7(copy.deepcopy(schema)) for name, schema in sorted(found.items())}


def _draft7(schema: Any) -> Any:
    """AsyncAPI's schemas follow draft 7: a tuple is `items`, and what stands beside a `$ref` is ignored."""
    if isinstance(schema, list):
        return [_draft7(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _draft7(value) for name, value in schema.items()}
    if isinstance(found.get("prefixItems"), list):
        found["items"] = found.pop("prefixItems")
    if isinstance(found.get("$ref"), str) and len(found) > 1:
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    return found
