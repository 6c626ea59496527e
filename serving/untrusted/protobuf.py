"""Protobuf messages of which only the fields that a check needs are known: no other package has to be there."""

from collections.abc import Iterator, Mapping
from typing import Any

TEXT, NUMBER, MESSAGE = 9, 5, 11  # FieldDescriptorProto's TYPE_STRING, TYPE_INT32, TYPE_MESSAGE
# message -> field -> (number, message or type, repeated)
Messages = Mapping[str, Mapping[str, tuple[int, str | int, bool]]]


def message_class(root: str, messages: Messages) -> Any:
    """The class that parses the message `root`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    package = f"tidegate.{root.lower()}"
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto2")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            added = message.field.add(name=field, number=number, label=3 if repeated else 1)
            added.type = kind if isinstance(kind, int) else MESSAGE
            if isinstance(kind, str):
                added.type_name = f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{root}"))


def walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Every message at and below `root`, with its name."""
    waiting = [root]
    while waiting:
        message = waiting.pop()
        yield message.DESCRIPTOR.name, message
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting += value if field.is_repeated else [value]
