"""Whatever the bytes: an analysis or RejectedContent, in bounded time; never another exception."""

import io
import os
import pickle
import time
import zipfile
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.analyze import analyze
from modelyard.analyze.tensor_list import list_tensors
from modelyard.core.errors import RejectedContent

ANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
NAMES = st.sampled_from(
    [
        "m.onnx",
        "m.skops",
        "m.joblib",
        "m.pkl",
        "model.py",
        "model.yaml",
        "requirements.txt",
        "config.json",
        "m.pt",
        "m.pt2",
        "m.tflite",
        "m.cbm",
        "saved_model.pb",
        "x",
    ]
)


def survives(files) -> None:
    for look in (analyze, list_tensors):
        try:
            look(files)
        except RejectedContent as error:
            assert error.message.endswith((".", ").")), error.message


def survives_at_once(files) -> None:
    """In the time that this thread works: the machine may have others to serve."""
    begin = time.thread_time()
    survives(files)
    assert time.thread_time() - begin < 2


@ANY
@given(name=NAMES, content=st.binary(max_size=400))
def test_random_bytes(files_of, name, content):
    survives_at_once(files_of({name: content}))


@ANY
@given(
    content=st.binary(max_size=200),
    prefix=st.sampled_from([b"\x80\x04", b"\x08\x08\x3a", b"PK\x03\x04", b"\x78\x9c"]),
)
def test_random_bytes_behind_a_promising_start(files_of, content, prefix):
    for name in ("m.onnx", "m.skops", "m.pkl"):
        survives_at_once(files_of({name: prefix + content}))


@ANY
@given(text=st.text(max_size=300))
def test_random_text(files_of, text):
    content = text.encode("utf-8", "surrogatepass")
    survives_at_once(files_of({"model.py": content}))
    good = b"def predict(x: int): return x\n"
    survives_at_once(files_of({"model.py": good, "requirements.txt": content}))
    survives_at_once(files_of({"model.py": good, "model.yaml": content}))


@pytest.mark.parametrize(
    ("name", "fixture"),
    [("m.onnx", "onnx_bytes"), ("m.skops", "skops_bytes"), ("m.joblib", "joblib_bytes")],
)
def test_every_truncation_of_a_good_file(files_of, request, name, fixture):
    content = request.getfixturevalue(fixture)
    step = max(1, len(content) // 400)
    for length in range(0, len(content), step):
        survives(files_of({name: content[:length]}))


def test_every_truncation_of_safetensors_is_refused(files_of, embedder):
    whole = embedder["model.safetensors"]
    for length in range(len(whole)):
        with pytest.raises(RejectedContent):
            analyze(files_of(embedder | {"model.safetensors": whole[:length]}))


@ANY
@given(data=st.data())
@pytest.mark.parametrize(
    ("name", "fixture"),
    [("m.onnx", "onnx_bytes"), ("m.skops", "skops_bytes"), ("m.joblib", "joblib_bytes")],
)
def test_flipped_bytes(files_of, request, name, fixture, data):
    content = bytearray(request.getfixturevalue(fixture))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    survives_at_once(files_of({name: bytes(content)}))


@ANY
@given(data=st.data())
def test_flipped_bytes_of_an_embedder(files_of, embedder, data):
    path = data.draw(st.sampled_from(sorted(embedder)))
    content = bytearray(embedder[path])
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    survives_at_once(files_of(embedder | {path: bytes(content)}))


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\x80\x04" + b"(" * 100_000 + b".",
        b"\x80\x04N" + b"\x85" * 1_000_000 + b".",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x80\x04\x8b\xff\xff\xff\xff",
        b"-" * 100_000 + b"1",
        b"a" + b".b" * 50_000,
        b"a: &a [x]\nb: *a\n",
        b"a: !!bool x\n",
        b'x: "\\ud800"\n',
        b"1" * 10_000,
    ],
)
@pytest.mark.parametrize(
    "name", ["m.onnx", "m.pkl", "model.py", "model.yaml", "config.json", "modules.json", "m.skops"]
)
def test_hostile_depth_and_lengths(files_of, name, content):
    survives(files_of({name: content, "tokenizer.json": b"{}"}))


def test_a_zip_bomb_is_refused(files_of):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (33 * 1024 * 1024))
    with pytest.raises(RejectedContent, match=r"schema\.json.* is over"):
        analyze(files_of({"m.skops": file.getvalue()}))


@pytest.mark.parametrize("member", ["../x.npy", "/x.npy", "a/../../x", "..\\x"])
def test_a_zip_member_that_escapes_is_refused(files_of, member):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("schema.json", b"{}")
        archive.writestr(member, b"")
    with pytest.raises(RejectedContent, match="outside of the file"):
        analyze(files_of({"m.skops": file.getvalue()}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_a_member_twice_is_refused(files_of):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("schema.json", b"{}")
        archive.writestr("schema.json", b"{}")
    with pytest.raises(RejectedContent, match="two members"):
        analyze(files_of({"m.skops": file.getvalue()}))


def test_compressed_nothingness_ends(files_of):
    bomb = zlib.compress(b"\x80\x04" + b"\x8d" + (2**33).to_bytes(8, "little") + bytes(50_000_000))
    with pytest.raises(RejectedContent):
        analyze(files_of({"m.joblib": bomb}))


class Attack:
    def __reduce__(self):
        return os.system, ("echo harm",)


def test_a_pickle_that_calls_the_system_is_refused_by_what_it_calls(files_of):
    with pytest.raises(RejectedContent, match=r"would call posix\.system"):
        analyze(files_of({"m.pkl": pickle.dumps(Attack())}))
