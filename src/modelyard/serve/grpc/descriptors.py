"""Our ``.proto`` files as FileDescriptorProtos, which is how reflection tells clients of them."""

from functools import lru_cache

from modelyard.serve.grpc.codec import encode
from modelyard.serve.grpc.proto_file import Enum, Message, ProtoFile, load

FILES = ("inference", "health", "reflection_v1", "reflection_v1alpha")
_OPTIONAL, _REPEATED = 1, 3


@lru_cache
def descriptor(name: str) -> bytes:
    """The FileDescriptorProto of one of FILES."""
    file = load(name)
    services: list[dict[str, object]] = [
        {
            "name": service,
            "method": [
                {
                    "name": method.name,
                    "input_type": method.input,
                    "output_type": method.output,
                    "client_streaming": method.client_streaming,
                    "server_streaming": method.server_streaming,
                }
                for method in methods
            ],
        }
        for service, methods in file.services.items()
    ]
    return encode(
        load("descriptor").message("FileDescriptorProto"),
        {
            "name": file.name,
            "package": file.package,
            "message_type": [_message(message) for message in file.messages.values()],
            "enum_type": [_enum(enum) for enum in file.enums.values()],
            "service": services,
            "syntax": "proto3",
        },
    )


def _message(message: Message) -> dict[str, object]:
    fields: list[dict[str, object]] = []
    for field in message.fields.values():
        one: dict[str, object] = {
            "name": field.name,
            "number": field.number,
            "label": _REPEATED if field.repeated else _OPTIONAL,
            "type": field.type,
            "type_name": field.type_name,
            "json_name": _camel(field.name),
        }
        if field.oneof is not None:
            one["oneof_index"] = field.oneof
        fields.append(one)
    found: dict[str, object] = {
        "name": message.name,
        "field": fields,
        "nested_type": [_message(inner) for inner in message.messages.values()],
        "enum_type": [_enum(enum) for enum in message.enums.values()],
        "oneof_decl": [{"name": name} for name in message.oneofs],
    }
    if message.entry:
        found["options"] = {"map_entry": True}
    return found


def _enum(enum: Enum) -> dict[str, object]:
    return {
        "name": enum.name,
        "value": [{"name": name, "number": number} for name, number in enum.values.items()],
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


@lru_cache
def symbols() -> dict[str, str]:
    """Full name of every service, method, message and enum → the file of FILES that declares it."""
    found: dict[str, str] = {}
    for name in FILES:
        file = load(name)
        for message in file.messages.values():
            _name(found, name, f"{file.package}.{message.name}", message)
        for enum in file.enums:
            found[f"{file.package}.{enum}"] = name
        for service, methods in file.services.items():
            found[f"{file.package}.{service}"] = name
            found |= {f"{file.package}.{service}.{method.name}": name for method in methods}
    return found


def _name(found: dict[str, str], file: str, name: str, message: Message) -> None:
    found[name] = file
    for inner in message.messages.values():
        _name(found, file, f"{name}.{inner.name}", inner)
    for enum in message.enums:
        found[f"{name}.{enum}"] = file


def services(file: ProtoFile) -> list[str]:
    """The full names of a file's services."""
    return [f"{file.package}.{service}" for service in file.services]
