"""Any order of calls to a blob store leaves exactly the blobs that a dictionary would have."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from modelyard.core.errors import InvalidInput
from modelyard.store.blobs import BlobStore


class BlobMachine(RuleBasedStateMachine):
    """Two stores on one folder, beside a dictionary."""

    data = Bundle("data")
    which = st.sampled_from([0, 1])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.stores = [BlobStore(self.folder), BlobStore(self.folder)]
        self.model: dict[str, bytes] = {}

    def teardown(self) -> None:
        del self.stores
        shutil.rmtree(self.folder)

    @rule(target=data, chunks=st.lists(st.binary(max_size=40), max_size=4), which=which, told=st.booleans())
    def put(self, chunks: list[bytes], which: int, told: bool) -> bytes:
        data = b"".join(chunks)
        digest = hashlib.sha256(data).hexdigest()
        put = self.stores[which].put(
            chunks, sha256=digest if told else None, size=len(data) if told else None
        )
        assert (put.sha256, put.size) == (digest, len(data))
        self.model[digest] = data
        return data

    @rule(data=st.binary(max_size=20), which=which)
    def put_wrong(self, data: bytes, which: int) -> None:
        digest = hashlib.sha256(data + b"!").hexdigest()
        if digest not in self.model:
            try:
                self.stores[which].put([data], sha256=digest)
            except InvalidInput:
                return
            raise AssertionError("wrong bytes were taken")

    @rule(data=data, which=which)
    def delete(self, data: bytes, which: int) -> None:
        digest = hashlib.sha256(data).hexdigest()
        self.stores[which].delete(digest)
        self.model.pop(digest, None)

    @rule(data=data, which=which, offset=st.integers(0, 200), length=st.integers(0, 200))
    def read(self, data: bytes, which: int, offset: int, length: int) -> None:
        digest = hashlib.sha256(data).hexdigest()
        if digest in self.model:
            assert self.stores[which].read(digest, offset, length) == data[offset : offset + length]
            assert self.stores[which].verify(digest)

    @rule(which=which)
    def sweep(self, which: int) -> None:
        assert self.stores[which].sweep() == 0

    @invariant()
    def both_stores_have_what_the_dictionary_has(self) -> None:
        for store in self.stores:
            assert {digest: b"".join(store.open(digest)) for digest in store.digests()} == self.model


TestBlobMachine = BlobMachine.TestCase
TestBlobMachine.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
