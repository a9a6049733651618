"""The key of an answer: all that it depends on, in one canonical form, in 256 bits of BLAKE2b.

It depends on the version's files (their digest), what the adapter was told, the environment that it runs
in, the inputs and the parameters; not on the endpoint, the caller, or how the request was written. 256
bits, because inputs come from strangers: nobody finds two that share a key.
"""

import hashlib
from collections.abc import Mapping
from pathlib import PurePath

import msgspec

from modelyard.core.routes import Pool, Route
from modelyard.core.signature import Signature
from modelyard.serve.call import Call, RawTensor

SIZE = 32  # bytes of a key
_ordered = msgspec.json.Encoder(order="deterministic").encode


def identity_of(route: Route, pool: Pool | None) -> bytes:
    """What two routes have in common when they give the same answers."""
    parts: list[object] = []
    if pool is not None:
        executor = pool.executor
        # Environments are folders named by the digest of their lock, wherever a node keeps them.
        environment = PurePath(executor.python).parts[-3:]
        parts += [pool.model, pool.digest, executor.adapter, executor.options, environment]
    if route.remotes:
        parts += [route.endpoint, route.model, [(remote.url, remote.model) for remote in route.remotes]]
    return _ordered(parts)


class Keys:
    """Makes the keys of one identity. Text, numbers and shapes stand with their lengths: no two inputs
    run into each other."""

    def __init__(self, identity: bytes) -> None:
        self._base = hashlib.blake2b(identity, digest_size=SIZE)
        self._signature: Signature | None = None
        self._floats: frozenset[str] = frozenset()
        self._defaults: dict[str, object] = {}
        self._plain = b""

    def of(self, call: Call, signature: Signature, version: bytes = b"") -> bytes:
        """The key of one call that was checked against ``signature``; ``version`` where the identity does
        not say it."""
        if signature is not self._signature:
            self._learn(signature)
        state = self._base.copy()
        if version:
            state.update(b"%d:" % len(version) + version)
        parameters = call.parameters
        state.update(self._written(parameters) if parameters else self._plain)
        inputs = call.inputs
        for name, datatype, shape, data in sorted(inputs, key=_name):
            size = data.nbytes if isinstance(data, memoryview) else len(data)
            state.update(f"{len(name)}:{name}{datatype}{shape}{size}:".encode())
            state.update(data)
        return state.digest()

    def _learn(self, signature: Signature) -> None:
        self._signature = signature
        self._floats = frozenset(spec.name for spec in signature.parameters if spec.type == "float")
        self._defaults = {
            spec.name: spec.default for spec in signature.parameters if spec.default is not None
        }
        self._plain = self._written({})

    def _written(self, parameters: Mapping[str, object]) -> bytes:
        """Parameters with their defaults, by name, 1 as 1.0 where a number may have a fraction."""
        values = {**self._defaults, **parameters}
        for name in self._floats & values.keys():
            if isinstance(number := values[name], int):
                values[name] = float(number)
        text = _ordered(values)
        return b"%d:" % len(text) + text


def _name(tensor: RawTensor) -> str:
    return tensor.name
