"""Reads the event files of TensorBoard: those of TensorFlow, PyTorch and tensorboardX.

A file is a row of records: 8 bytes of length, 4 of its checksum, the data, 4 of its checksum, all
little-endian (TFRecord). The data is a protobuf `Event`, of which only what scalars need is named
here; the field numbers are those of tensorboard/compat/proto. Event files are written by hostile
code and may be cut off anywhere: what makes no sense ends the reading, and costs no memory.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

MOST_RECORD_BYTES = 1 << 20
# A longer tag is none: it would be kept as often as it is charted.
MOST_TAG_CHARS = 300
_MOST_SCALAR_TAGS = 10_000
_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
_FLOAT, _DOUBLE = 1, 2
_Field = descriptor_pb2.FieldDescriptorProto
# Message -> field -> number, type, message it holds, whether repeated.
_SCHEMA: dict[str, dict[str, tuple[int, int, str, bool]]] = {
    "Event": {
        "wall_time": (1, _Field.TYPE_DOUBLE, "", False),
        "step": (2, _Field.TYPE_INT64, "", False),
        "summary": (5, _Field.TYPE_MESSAGE, "Summary", False),
    },
    "Summary": {"value": (1, _Field.TYPE_MESSAGE, "Value", True)},
    "Value": {
        "tag": (1, _Field.TYPE_STRING, "", False),
        "simple_value": (2, _Field.TYPE_FLOAT, "", False),
        "tensor": (8, _Field.TYPE_MESSAGE, "Tensor", False),
        "metadata": (9, _Field.TYPE_MESSAGE, "Metadata", False),
    },
    "Tensor": {
        "dtype": (1, _Field.TYPE_INT32, "", False),
        "tensor_content": (4, _Field.TYPE_BYTES, "", False),
        "float_val": (5, _Field.TYPE_FLOAT, "", True),
        "double_val": (6, _Field.TYPE_DOUBLE, "", True),
    },
    "Metadata": {"plugin_data": (1, _Field.TYPE_MESSAGE, "PluginData", False)},
    "PluginData": {"plugin_name": (1, _Field.TYPE_STRING, "", False)},
}


@dataclass(frozen=True, slots=True)
class Point:
    """One scalar: `wall_time` in epoch seconds."""

    tag: str
    step: int
    wall_time: float
    value: float


class EventReader:
    """Goes on where it stopped: a file grows while it is read."""

    def __init__(self) -> None:
        self.offset = 0
        self._scalar_tags: set[str] = set()

    def read(self, stream: BinaryIO, *, most_bytes: int) -> Iterator[Point]:
        """The scalars that have come since, reading `most_bytes` at most; `stream` can seek."""
        stream.seek(self.offset)
        left = most_bytes
        while left > 0 and (record := _record(stream)) is not None:
            size = _HEADER.size + len(record) + _FOOTER_BYTES
            self.offset += size
            left -= size
            yield from self._points(record)

    def _points(self, record: bytes) -> Iterator[Point]:
        event = _message("Event")()
        try:
            event.ParseFromString(record)
        except DecodeError:
            return
        for value in event.summary.value:
            if len(value.tag) > MOST_TAG_CHARS:
                continue
            number = self._number(value)
            if number is not None and math.isfinite(number):
                yield Point(value.tag, event.step, event.wall_time, number)

    def _number(self, value: Any) -> float | None:
        """The scalar in a summary's value; None where it holds something else.

        TensorFlow 2 writes a tensor and says only with a tag's first one that it is a scalar.
        """
        if value.HasField("simple_value"):
            return float(value.simple_value)
        is_scalar = value.metadata.plugin_data.plugin_name == "scalars"
        if is_scalar and len(self._scalar_tags) < _MOST_SCALAR_TAGS:
            self._scalar_tags.add(value.tag)
        if not value.HasField("tensor") or value.tag not in self._scalar_tags:
            return None
        return _scalar(value.tensor)


def _record(stream: BinaryIO) -> bytes | None:
    """The next whole record; None where there is none yet, or what follows is none."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, _ = _HEADER.unpack(header)
    if length > MOST_RECORD_BYTES:
        return None
    data = stream.read(length + _FOOTER_BYTES)
    return data[:length] if len(data) == length + _FOOTER_BYTES else None


def _scalar(tensor: Any) -> float | None:
    if tensor.float_val or tensor.double_val:
        return float((tensor.float_val or tensor.double_val)[0])
    form = {_FLOAT: "<f", _DOUBLE: "<d"}.get(tensor.dtype)
    if form is None or len(tensor.tensor_content) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, tensor.tensor_content)[0])


@cache
def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"fastgpu.{name}"))


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="fastgpu/event.proto", package="fastgpu", syntax="proto2"
    )
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, holds, is_repeated) in fields.items():
            message.field.add(
                name=field,
                number=number,
                type=kind,
                type_name=f".fastgpu.{holds}" if holds else None,
                label=_Field.LABEL_REPEATED if is_repeated else _Field.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool
