"""Keys: the same for what gives the same answer, another for anything else."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import ExecutorSpec, Pool, Remote, Route
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.serve.cache.key import SIZE, Keys, identity_of
from modelyard.serve.call import Call, Options, RawTensor

SIGNATURE = Signature(
    inputs=(TensorSpec(name="a", datatype="BYTES"), TensorSpec(name="b", datatype="FP32")),
    parameters=(
        ParameterSpec(name="normalize", type="bool", default=True),
        ParameterSpec(name="scale", type="float", default=1.0),
        ParameterSpec(name="note", type="string"),
    ),
)
POOL = Pool(
    deployment="d1",
    endpoint="e",
    model="m",
    version=1,
    digest="0" * 64,
    executor=ExecutorSpec(
        python="/home/a/environments/abc/bin/python",
        adapter="onnx",
        files="/x",
        options={"one": 1, "two": [2]},
    ),
)
ROUTE = Route(endpoint="e", deployment="d1")
A = RawTensor("a", "BYTES", (1,), b"\2\0\0\0hi")
B = RawTensor("b", "FP32", (1,), b"\0\0\x80\x3f")


def key(*inputs: RawTensor, pool: Pool = POOL, **parameters: object) -> bytes:
    return Keys(identity_of(ROUTE, pool)).of(Call(inputs, parameters, 1, 1.0), SIGNATURE)


def changed(**changes: object) -> Pool:
    return msgspec.structs.replace(POOL, **changes)


def test_a_key_has_256_bits() -> None:
    assert len(key(A, B)) == SIZE == 32


def test_the_order_of_inputs_and_parameters_does_not_matter() -> None:
    assert key(A, B) == key(B, A)
    assert key(A, note="x", scale=2.0) == key(A, scale=2.0, note="x")


def test_a_parameter_left_out_is_its_default_and_a_whole_number_is_a_number() -> None:
    assert key(A) == key(A, normalize=True) == key(A, scale=1) == key(A, scale=1.0)
    assert len({key(A), key(A, normalize=False), key(A, scale=2), key(A, note="")}) == 4


def test_a_view_is_its_bytes() -> None:
    assert key(A, B._replace(data=memoryview(B.data))) == key(A, B)


def test_whatever_changes_the_answer_changes_the_key() -> None:
    executor = POOL.executor
    keys = [
        key(A, B),
        key(A),
        key(A._replace(data=b"\2\0\0\0ho"), B),
        key(A, B._replace(shape=(1, 1))),
        key(A, B._replace(datatype="INT32")),
        key(A, B, pool=changed(model="n")),
        key(A, B, pool=changed(digest="1" * 64)),
        key(A, B, pool=changed(executor=msgspec.structs.replace(executor, options={"one": 2, "two": [2]}))),
        key(A, B, pool=changed(executor=msgspec.structs.replace(executor, adapter="function"))),
        key(A, B, pool=changed(executor=msgspec.structs.replace(
            executor, python="/home/a/environments/def/bin/python"))),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


def test_what_does_not_change_the_answer_does_not_change_the_key() -> None:
    executor = msgspec.structs.replace(
        POOL.executor,
        options={"two": [2], "one": 1},
        files="/y",
        python="/srv/b/environments/abc/bin/python",
    )
    other = changed(
        deployment="d2", endpoint="f", replicas=3, executor=executor, serving=ServingOptions(cache=5)
    )
    assert key(A, B) == key(A, B, pool=other)
    keys = Keys(identity_of(ROUTE, POOL))
    mine = Call((A,), {}, 1, 1.0, Options(client="me", priority=3))
    assert keys.of(mine, SIGNATURE) == keys.of(Call((A,), {}, 1, 9.0), SIGNATURE)


def test_the_routes_to_somewhere_else_are_part_of_it() -> None:
    far = msgspec.structs.replace(ROUTE, deployment=None, remotes=(Remote(url="http://a", model="m"),))
    other = msgspec.structs.replace(far, remotes=(Remote(url="http://b", model="m"),))
    assert len({identity_of(far, None), identity_of(other, None), identity_of(far, POOL)}) == 3


texts = st.text(max_size=4)
tensors = st.builds(
    RawTensor,
    texts,
    st.sampled_from(["BYTES", "FP32"]),
    st.lists(st.integers(0, 12), max_size=2).map(tuple),
    st.binary(max_size=6),
)
calls = st.tuples(
    st.lists(tensors, max_size=3, unique_by=lambda tensor: tensor.name),
    st.dictionaries(texts, texts | st.integers() | st.booleans(), max_size=2),
)


@given(calls, calls)
def test_two_calls_share_a_key_only_when_they_are_equal(one: tuple, other: tuple) -> None:
    keys = Keys(b"")
    bare = Signature(inputs=())
    same = sorted(one[0]) == sorted(other[0]) and msgspec.json.encode(
        one[1], order="deterministic"
    ) == msgspec.json.encode(other[1], order="deterministic")
    made = [keys.of(Call(tuple(inputs), parameters, 1, 1.0), bare) for inputs, parameters in (one, other)]
    assert (made[0] == made[1]) == same
