"""``/invocations`` in all of its forms, ``/ping``, ``/version``, and the paths that Vertex asks for."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.protocols.conftest import pools, with_default
from support.node import NodeProcess

ROWS = [{"age": 2.0, "visits": 3, "city": "york"}, {"age": None, "visits": 1, "city": "bath"}]
ANSWER = {"predictions": [{"score": 6.0, "city": "YORK"}, {"score": 0.0, "city": "BATH"}]}
SPLIT = {
    "columns": ["city", "age", "visits"],
    "index": [0, 1],
    "data": [["york", 2.0, 3], ["bath", None, 1]],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root: Path = tmp_path_factory.mktemp("vertex")
    node = NodeProcess(root / "home", AIP_HEALTH_ROUTE="/alive", AIP_PREDICT_ROUTE="/predict")
    with node.serve(*pools(root)):
        with_default(node, "table")
        yield node


@pytest.fixture(scope="module")
def vector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root: Path = tmp_path_factory.mktemp("vector")
    with NodeProcess(root / "home").serve(*pools(root)) as node:
        with_default(node, "vector")
        yield node


def csv(node: NodeProcess, text: str) -> tuple[int, dict]:
    status, _, body = node.call("POST", "/invocations", text.encode(), {"content-type": "text/csv"})
    return status, json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": SPLIT},
        {"dataframe_records": ROWS},
        {"instances": ROWS},
        {"dataframe_records": ROWS, "params": {"factor": 1.0}},
        {"instances": ROWS, "parameters": {"factor": 1}},
    ],
)
def test_a_data_frame_in_every_form(table: NodeProcess, body: dict) -> None:
    assert table.post("/invocations", body) == (200, ANSWER)


def test_columns_of_tensors(table: NodeProcess) -> None:
    body = {"inputs": {"age": [2.0], "visits": [3], "city": ["york"]}}
    assert table.post("/invocations", body)[1] == {"predictions": {"score": [6.0], "city": ["YORK"]}}


def test_csv_with_names(table: NodeProcess) -> None:
    assert csv(table, "age,visits,city\n2,3,york\n,1,bath\n") == (200, ANSWER)
    assert csv(table, '\ufeffcity,age,visits\r\n"york",2.0,3\r\n') == (
        200,
        {"predictions": ANSWER["predictions"][:1]},
    )


def test_a_row_of_a_frame_may_be_one_vector(vector: NodeProcess) -> None:
    data = [[1, 2, 3], [4, 5, 6]]
    wanted = (200, {"predictions": [6.0, 15.0]})
    assert (
        vector.post("/invocations", {"dataframe_split": {"columns": ["a", "b", "c"], "data": data}})
        == wanted
    )
    assert vector.post("/invocations", {"dataframe_split": {"data": data}}) == wanted
    records = [dict(zip("abc", row, strict=True)) for row in data]
    assert vector.post("/invocations", {"dataframe_records": records}) == wanted
    assert vector.post("/invocations", {"inputs": data}) == wanted
    assert vector.post("/invocations", {"instances": data, "params": {"scale": 1}}) == wanted
    assert csv(vector, "1,2,3\n4,5,6\n") == wanted
    assert csv(vector, "a,b,c\n1,2,3\n4,5,6") == wanted


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"instances": ROWS, "inputs": {}}, "body"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}, "dataframe_split.data[0]"),
        ({"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}, "dataframe_split.columns"),
        ({"dataframe_split": {"columns": ["age"], "data": []}}, "dataframe_split"),
        ({"dataframe_split": {"columns": ["colour"], "data": [[1]]}}, "dataframe_split[0].colour"),
        ({"dataframe_records": []}, "dataframe_records"),
        ({"dataframe_records": [{"age": 1.0}]}, "dataframe_records[0].visits"),
        ({"dataframe_records": ROWS, "params": {"k": 1}}, "dataframe_records[0].k"),
        ({"columns": ["age"], "data": [[1]]}, "body"),
    ],
)
def test_what_is_wrong_is_named(table: NodeProcess, body: dict, field: str) -> None:
    status, answer = table.post("/invocations", body)
    assert (status, answer["field"]) == (400, field), answer


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "body"),
        ("age,visits,city\n", "rows"),
        ("age,visits,city\n1,2\n", "line 2"),
        ("age,visits,city\nold,2,york\n", "line 2, column age"),
        ("age,visits,city\n1,2.5,york\n", "line 2, column visits"),
        ("age,visits,colour\n1,2,york\n", "line 1"),
        ("age,age,city\n1,2,york\n", "line 1"),
        ('age,visits,city\n"1,2,york\n', "body"),
    ],
)
def test_what_is_wrong_in_csv_is_named(table: NodeProcess, text: str, field: str) -> None:
    status, answer = csv(table, text)
    assert (status, answer["field"]) == (400, field), answer


def test_other_content_is_refused(table: NodeProcess) -> None:
    for kind in ("application/x-npy", "application/x-www-form-urlencoded", "text/plain"):
        status, _, body = table.call("POST", "/invocations", b"1,2", {"content-type": kind})
        assert (status, json.loads(body)["field"]) == (400, "content-type")


def test_ping_and_version(table: NodeProcess) -> None:
    assert table.call("GET", "/ping")[::2] == (200, b"\n")
    assert table.call("GET", "/version")[0] == 200


def test_vertex_finds_its_paths(table: NodeProcess) -> None:
    assert table.call("GET", "/alive")[0] == 200
    assert table.post("/predict", {"instances": ROWS}) == (200, ANSWER)


def test_ping_is_503_while_nothing_is_ready(tmp_path: Path) -> None:
    with NodeProcess(tmp_path / "home").serve() as node:
        assert node.call("GET", "/ping")[0] == 404
