"""A ``.proto`` file as data: messages, enums and services, read from its text when it is first needed.

Source of the grammar: https://protobuf.dev/reference/protobuf/proto3-spec/ — the parts that our files use.
Reading the text at start keeps generated code out of the repository, and costs a few milliseconds.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

SCALARS: Final = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12,
    "uint32": 13,
}  # fmt: skip
MESSAGE: Final = 11
ENUM: Final = 14
_TOKEN: Final = re.compile(r"\"[^\"]*\"|[A-Za-z_][\w.]*|\d+|[{}()<>=;,]")
_COMMENT: Final = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass
class Field:
    """One field. ``type`` is its number in descriptor.proto; ``kind`` the message of a message field."""

    name: str
    number: int
    type: int
    type_name: str = ""  # of messages and enums; with its package once the file was read
    repeated: bool = False
    oneof: int | None = None
    kind: "Message | None" = None
    enum: "Enum | None" = None


@dataclass
class Enum:
    """``values`` by name."""

    name: str
    values: dict[str, int] = field(default_factory=dict[str, int])


@dataclass
class Message:
    """One message. ``entry`` messages are those that stand for a map."""

    name: str
    fields: dict[str, Field] = field(default_factory=dict[str, Field])
    numbers: dict[int, Field] = field(default_factory=dict[int, Field])
    messages: "dict[str, Message]" = field(default_factory=dict[str, "Message"])
    enums: dict[str, Enum] = field(default_factory=dict[str, Enum])
    oneofs: list[str] = field(default_factory=list[str])
    entry: bool = False

    def add(self, one: Field) -> None:
        """One more field."""
        self.fields[one.name] = one
        self.numbers[one.number] = one


@dataclass
class Method:
    """One method of a service; the types are full names."""

    name: str
    input: str
    output: str
    client_streaming: bool
    server_streaming: bool


@dataclass
class ProtoFile:
    """What one file declares. ``services`` by name, each with its methods."""

    name: str
    package: str = ""
    messages: dict[str, Message] = field(default_factory=dict[str, Message])
    enums: dict[str, Enum] = field(default_factory=dict[str, Enum])
    services: dict[str, list[Method]] = field(default_factory=dict[str, list[Method]])

    def message(self, name: str) -> Message:
        """A message of the file by its name without the package (``ModelInferRequest.InferInputTensor``)."""
        first, *rest = name.removeprefix(f".{self.package}.").split(".")
        found = self.messages[first]
        for part in rest:
            found = found.messages[part]
        return found


@lru_cache
def load(name: str) -> ProtoFile:
    """The file ``proto/<name>.proto`` beside this one."""
    path = Path(__file__).with_name("proto") / f"{name}.proto"
    return _Parser(f"{name}.proto", path.read_text()).file()


class _Parser:
    def __init__(self, name: str, text: str) -> None:
        self._tokens = _TOKEN.findall(_COMMENT.sub("", text))
        self._position = 0
        self._file = ProtoFile(name)

    def _next(self) -> str:
        self._position += 1
        return self._tokens[self._position - 1]

    def _expect(self, *wanted: str) -> str:
        token = self._next()
        if token not in wanted:
            raise ValueError(f"{self._file.name}: {token!r} where {' or '.join(wanted)} should be")
        return token

    def file(self) -> ProtoFile:
        file = self._file
        while self._position < len(self._tokens):
            match self._next():
                case "syntax":
                    self._expect("=")
                    self._expect('"proto3"')
                    self._expect(";")
                case "package":
                    file.package = self._next()
                    self._expect(";")
                case "message":
                    self._message(file.messages)
                case "enum":
                    self._enum(file.enums)
                case "service":
                    self._service()
                case other:
                    raise ValueError(f"{file.name}: {other!r} is not read here")
        for message in file.messages.values():
            self._resolve(message, [f".{file.package}", f".{file.package}.{message.name}"])
        return file

    def _message(self, into: dict[str, Message]) -> None:
        name = self._next()
        message = into[name] = Message(name)
        self._expect("{")
        oneof: int | None = None
        while True:
            match self._next():
                case "}" if oneof is not None:
                    oneof = None
                case "}":
                    return
                case "message":
                    self._message(message.messages)
                case "enum":
                    self._enum(message.enums)
                case "oneof":
                    message.oneofs.append(self._next())
                    oneof = len(message.oneofs) - 1
                    self._expect("{")
                case "map":
                    self._map(message)
                case "repeated":
                    self._field(message, self._next(), repeated=True)
                case type_name:
                    self._field(message, type_name, oneof=oneof)

    def _field(
        self, message: Message, type_name: str, *, repeated: bool = False, oneof: int | None = None
    ) -> None:
        name = self._next()
        self._expect("=")
        number = int(self._next())
        self._expect(";")
        scalar = SCALARS.get(type_name, 0)
        message.add(Field(name, number, scalar, "" if scalar else type_name, repeated, oneof))

    def _map(self, message: Message) -> None:
        self._expect("<")
        key = self._next()
        self._expect(",")
        value = self._next()
        self._expect(">")
        name = self._tokens[self._position]
        entry = Message("".join(part.capitalize() for part in name.split("_")) + "Entry", entry=True)
        scalar = SCALARS.get(value, 0)
        entry.add(Field("key", 1, SCALARS[key]))
        entry.add(Field("value", 2, scalar, "" if scalar else value))
        message.messages[entry.name] = entry
        self._field(message, entry.name, repeated=True)

    def _enum(self, into: dict[str, Enum]) -> None:
        name = self._next()
        enum = into[name] = Enum(name)
        self._expect("{")
        while (value := self._next()) != "}":
            self._expect("=")
            enum.values[value] = int(self._next())
            self._expect(";")

    def _service(self) -> None:
        methods = self._file.services[self._next()] = []
        self._expect("{")
        while self._expect("rpc", "}") == "rpc":
            name = self._next()
            input, client = self._type()
            self._expect("returns")
            output, server = self._type()
            if self._expect("{", ";") == "{":
                self._expect("}")
            methods.append(Method(name, input, output, client, server))

    def _type(self) -> tuple[str, bool]:
        self._expect("(")
        name = self._next()
        streams = name == "stream"
        if streams:
            name = self._next()
        self._expect(")")
        return f".{self._file.package}.{name}", streams

    def _resolve(self, message: Message, scopes: list[str]) -> None:
        """Full names of types, looked for from the inside to the outside."""
        for one in message.fields.values():
            if not one.type_name:
                continue
            for scope in reversed(scopes):
                holder: ProtoFile | Message = self._file
                if scope != f".{self._file.package}":
                    holder = self._file.message(scope)
                if one.type_name in holder.messages:
                    one.kind = holder.messages[one.type_name]
                    one.type = MESSAGE
                elif one.type_name in holder.enums:
                    one.enum = holder.enums[one.type_name]
                    one.type = ENUM
                else:
                    continue
                one.type_name = f"{scope}.{one.type_name}"
                break
            else:
                raise ValueError(f"{self._file.name}: {one.type_name!r} is not declared")
        for inner in message.messages.values():
            self._resolve(inner, [*scopes, f"{scopes[-1]}.{inner.name}"])
