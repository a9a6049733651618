"""Reads what a skops file would build: its schema.json and the headers of its arrays, inside bounds.

The form is that of https://github.com/skops-dev/skops: a zip with ``schema.json`` (a tree of nodes,
each with ``__class__``, ``__module__``, ``__loader__``) and one ``.npy`` file per array.
"""

import ast
import json
import re

import msgspec

from modelyard.analyze.archive import Archive
from modelyard.analyze.objects import Array, Global, Instance, refuse_harmful
from modelyard.core.files import Files

MAX_SCHEMA = 32 * 1024 * 1024
MAX_DEPTH = 100
MAX_LENGTH = 1 << 48  # of one axis of an array


class SkopsFile:
    """One skops file. ``root`` is the object that it holds; ``globals`` all classes that it names."""

    def __init__(self, files: Files, path: str) -> None:
        self.path = path
        self.globals: dict[str, Global] = {}
        self._seen: dict[int, object] = {}
        self._archive = Archive(files, path, "a skops file", "Save it again with skops.io.dump")
        self._corrupt = self._archive.corrupt
        if "schema.json" not in self._archive.sizes:
            raise self._corrupt("it has no schema.json")
        schema = self._archive.read("schema.json", MAX_SCHEMA)
        try:
            tree = msgspec.json.decode(schema)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._corrupt(f"its schema.json is not valid ({error})") from error
        self.root = self._node(tree, 0)

    def _node(self, node: object, depth: int) -> object:
        """One node of the schema as an object's description."""
        if depth > MAX_DEPTH:
            raise self._corrupt(f"its objects are nested deeper than {MAX_DEPTH}")
        if not isinstance(node, dict):
            raise self._corrupt("a node of its schema is not an object")
        identity = node.get("__id__")
        loader, content = node.get("__loader__"), node.get("content")
        if loader == "CachedNode" and isinstance(identity, int):
            return self._seen.get(identity)
        found = Global(str(node.get("__module__", "")), str(node.get("__class__", "")))
        if found.module or found.name:
            refuse_harmful(self.path, found)
            self.globals.setdefault(found.path, found)
        value = self._value(node, loader, content, found, depth)
        if isinstance(identity, int):
            self._seen[identity] = value
        return value

    def _value(
        self, node: dict[str, object], loader: object, content: object, found: Global, depth: int
    ) -> object:
        if loader == "JsonNode":
            try:
                return json.loads(content) if isinstance(content, str) else None  # may hold NaN
            except (ValueError, RecursionError) as error:
                raise self._corrupt(f"a value of its schema is not valid ({error})") from error
        if loader in ("ListNode", "TupleNode", "SetNode") and isinstance(content, list):
            values = [self._node(item, depth + 1) for item in content]
            return tuple(values) if loader == "TupleNode" else values
        if loader in ("DictNode", "DefaultDictNode", "OrderedDictNode") and isinstance(content, dict):
            return {str(key): self._node(item, depth + 1) for key, item in content.items()}
        if loader == "NdArrayNode":
            return self._array(node, content, depth)
        if loader == "FunctionNode" and isinstance(content, dict):
            function = Global(str(content.get("module_path", "")), str(content.get("function", "")))
            refuse_harmful(self.path, function)
            self.globals.setdefault(function.path, function)
            return function
        state = (
            self._node(content, depth + 1)
            if isinstance(content, dict) and "__loader__" in content
            else None
        )
        return Instance(found, state=state)

    def _array(self, node: dict[str, object], content: object, depth: int) -> Array | None:
        if node.get("type") == "json" and isinstance(content, list):
            values = [self._node(item, depth + 1) for item in content]
            shape = self._node(node.get("shape"), depth + 1)
            if not isinstance(shape, tuple):
                raise self._corrupt("an array of its schema has no shape")
            return Array(self._lengths(shape), "O", values)
        file = node.get("file")
        if not isinstance(file, str):
            raise self._corrupt("an array of its schema has no file")
        return self._npy(file)

    def _npy(self, name: str) -> Array:
        """The header of a ``.npy`` member (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html)."""
        head = self._archive.read(name, 10_000, exact=False)
        if head[:6] != b"\x93NUMPY" or len(head) < 12:
            raise self._corrupt(f"its member {name[:100]!r} is not an array")
        width = 2 if head[6] == 1 else 4
        length = int.from_bytes(head[8 : 8 + width], "little")
        text = head[8 + width : 8 + width + length].decode("latin-1")
        shape = re.search(r"'shape': *(\([0-9, ]*\))", text)
        kind = re.search(r"'descr': *'[<>|=]?(\w+)'", text)
        if len(text) != length or shape is None or (kind is None and "'descr': [" not in text):
            raise self._corrupt(f"the header of its member {name[:100]!r} is not valid")
        try:
            lengths: object = ast.literal_eval(shape[1])
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise self._corrupt(f"the shape of its member {name[:100]!r} is not valid") from error
        if not isinstance(lengths, tuple):
            raise self._corrupt(f"the shape of its member {name[:100]!r} is not valid")
        return Array(self._lengths(lengths), kind[1] if kind else "V")

    def _lengths(self, shape: tuple[object, ...]) -> tuple[int, ...]:
        lengths = [length for length in shape if isinstance(length, int) and 0 <= length < MAX_LENGTH]
        if len(lengths) != len(shape) or len(shape) > 64:
            raise self._corrupt("an array of it has an impossible shape")
        return tuple(lengths)
