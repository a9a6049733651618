"""A Python function behind the executor: what it is given, what it may answer, how it may fail."""

from pathlib import Path

import numpy as np
import pytest

from executor.process import ExecutorProcess, document, signature, spec

TEXT = spec("text", "BYTES", kind="text")
JSON = spec("output", "BYTES", kind="json")
NUMBER = spec("number", "INT64")
RESULT = spec("output", "INT64")


def write(folder: Path, source: str) -> Path:
    files = folder / "files"
    files.mkdir()
    (files / "model.py").write_text(source)
    return files


def options(described: dict, entry: str = "predict") -> dict:
    return {"file": "model.py", "entry": entry, "signature": described}


def one(tmp_path: Path, source: str, described: dict, item: dict, entry: str = "predict", parameters=None):
    """Start, send one item, give its answer and the log."""
    with ExecutorProcess(tmp_path) as executor:
        hello = executor.start("function", write(tmp_path, source), options(described, entry))
        assert hello["type"] == "HELLO", hello
        (answer,) = executor.batch(item, parameters=[parameters or {}])
        return answer, executor.log


def failure(tmp_path: Path, source: str, described: dict, entry: str = "predict") -> str:
    """Start a model that cannot be loaded; give the reason. The process ends with status 1."""
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start("function", write(tmp_path, source), options(described, entry))
        assert failed["type"] == "FAILED", failed
        assert executor.wait() == 1
        return failed["message"]


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        ("class OutOfMemoryError(RuntimeError): pass\nraise OutOfMemoryError('no more')", "out_of_memory"),
        ("raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')", "out_of_memory"),
        ("raise MemoryError()", "out_of_memory"),
        ("raise RuntimeError('no more')", "RuntimeError"),
    ],
)
def test_a_model_that_has_no_memory_to_be_loaded_is_told_from_a_broken_one(tmp_path, raised, code):
    described = signature([spec("x", "FP64")], [spec("output", "FP64")])
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start(
            "function", write(tmp_path, f"{raised}\ndef predict(x):\n    return x\n"), options(described)
        )
    assert (failed["type"], failed["code"]) == ("FAILED", code), failed


def test_text_comes_as_str_and_numbers_answer_as_declared(tmp_path):
    answer, _ = one(
        tmp_path,
        "def predict(text: str):\n    assert type(text) is str\n    return len(text)",
        signature([TEXT], [RESULT]),
        {"text": np.array("größe")},
    )
    assert answer["output"].dtype == "int64" and answer["output"].shape == () and answer["output"] == 5


def test_json_comes_as_values_and_goes_as_json_with_numpy_inside(tmp_path):
    answer, _ = one(
        tmp_path,
        "import numpy\n"
        "def predict(record):\n"
        "    return {'sum': numpy.float32(sum(record['values'])), 'array': numpy.arange(3), 'name': record['name']}",
        signature([spec("record", "BYTES", kind="json")], [JSON]),
        {"record": document({"values": [1, 2.5], "name": "ü"})},
    )
    assert answer["output"].item() == b'{"sum":3.5,"array":[0,1,2],"name":"\\u00fc"}'


def test_shapes_come_as_nested_lists_unless_the_annotation_asks_for_an_array(tmp_path):
    source = (
        "import numpy as np\n"
        "def predict(rows, matrix: np.ndarray):\n"
        "    assert rows == [[1.0, 2.0], [3.0, 4.0]], rows\n"
        "    matrix *= 2\n"
        "    return {'doubled': matrix, 'kind': type(rows).__name__}"
    )
    given = np.array([[1.0, 2.0], [3.0, 4.0]])
    answer, _ = one(
        tmp_path,
        source,
        signature(
            [spec("rows", "FP64", (2, 2)), spec("matrix", "FP64", (2, 2))],
            [spec("doubled", "FP64", (2, -1)), spec("kind", "BYTES", kind="text")],
        ),
        {"rows": given, "matrix": given},
    )
    assert np.array_equal(answer["doubled"], given * 2)
    assert answer["kind"].item() == b"list"


def test_an_optional_input_and_a_parameter_that_are_left_out_keep_the_functions_defaults(tmp_path):
    described = signature(
        [NUMBER, spec("more", "INT64", optional=True)],
        [RESULT],
        parameters=[{"name": "factor", "type": "int", "default": None, "description": ""}],
    )
    source = "def predict(number, more=10, *, factor=2):\n    return (number + more) * factor"
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", write(tmp_path, source), options(described))
        answers = executor.batch(
            {"number": np.array(1)},
            {"number": np.array(1), "more": np.array(2)},
            parameters=[{}, {"factor": 5}],
        )
    assert [answer["output"].item() for answer in answers] == [22, 15]


def test_records_with_a_batch_axis_are_answered_row_by_row_in_order(tmp_path):
    described = signature([NUMBER], [RESULT], batched=True)
    with ExecutorProcess(tmp_path) as executor:
        executor.start(
            "function", write(tmp_path, "def predict(number):\n    return number * 2"), options(described)
        )
        answers = executor.batch({"number": np.array([1, 2, 3])}, {"number": np.array([10])})
    assert [answer["output"].tolist() for answer in answers] == [[2, 4, 6], [20]]


def test_a_class_is_loaded_once_with_its_folder_and_batches_together(tmp_path):
    source = (
        "import helper\n"
        "class Model:\n"
        "    def load(self, folder):\n"
        "        self.offset = int((folder / 'offset.txt').read_text())\n"
        "    def predict(self, number):\n"
        "        return number + self.offset\n"
        "    def predict_batch(self, records):\n"
        "        print('batch of', len(records))\n"
        "        return [helper.same(self.predict(**record)) for record in records]\n"
    )
    files = write(tmp_path, source)
    (files / "offset.txt").write_text("100")
    (files / "helper.py").write_text("def same(value):\n    return value\n")
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", files, options(signature([NUMBER], [RESULT]), "Model"))
        answers = executor.batch({"number": np.array(1)}, {"number": np.array(2)})
        log = executor.log
    assert [answer["output"].item() for answer in answers] == [101, 102]
    assert "batch of 2" in log
    assert not (files / "__pycache__").exists()


def test_prints_are_in_the_log_when_the_answer_is_there(tmp_path):
    _, log = one(
        tmp_path,
        "print('at load')\ndef predict(text):\n    print('said', text)\n    return 1",
        signature([TEXT], [RESULT]),
        {"text": np.array("hello")},
    )
    assert "at load\nsaid hello\n" in log


def test_what_a_model_leaves_to_the_end_of_its_process_is_done_and_no_more(tmp_path):
    source = (
        "import atexit\n"
        "class Slow:\n"
        "    def __del__(self): print('taken apart')\n"
        "kept = Slow()\n"
        "def bye():\n"
        "    print('written down')\n"
        "    raise SystemExit(3)\n"
        "atexit.register(bye)\n"
        "def predict(number: int): return number\n"
    )
    described = signature([NUMBER], [RESULT])
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", write(tmp_path, source), options(described))
        executor.channel.send({"type": "DRAIN"})
        assert executor.process.wait(20) == 0
        assert "written down" in executor.log
        assert "taken apart" not in executor.log


def test_one_item_of_many_that_raises_costs_its_mates_nothing(tmp_path):
    source = "def predict(number):\n    return 100 // number"
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", write(tmp_path, source), options(signature([NUMBER], [RESULT])))
        answers = executor.batch(*[{"number": np.array(number)} for number in (1, 2, 0, 4, 5)])
        assert "ZeroDivisionError" in executor.log
    assert [answers[index]["output"].item() for index in (0, 1, 3, 4)] == [100, 50, 25, 20]
    assert answers[2]["code"] == "internal"
    assert answers[2]["message"].startswith("The model raised ZeroDivisionError: ")


def test_one_record_that_breaks_predict_batch_costs_its_mates_nothing(tmp_path):
    source = (
        "class Model:\n    def predict_batch(self, records):\n"
        "        return [100 // record['number'] for record in records]"
    )
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", write(tmp_path, source), options(signature([NUMBER], [RESULT]), "Model"))
        answers = executor.batch(*[{"number": np.array(number)} for number in (1, 0, 4)])
    assert [answers[0]["output"].item(), answers[2]["output"].item()] == [100, 25]
    assert "ZeroDivisionError" in answers[1]["message"]


def test_invalid_input_raised_by_the_model_is_the_callers_error(tmp_path):
    answer, _ = one(
        tmp_path,
        "from modelyard_executor.adapter import InvalidInput\n"
        "def predict(text):\n    raise InvalidInput('inputs.text', 'Too short.')",
        signature([TEXT], [RESULT]),
        {"text": np.array("x")},
    )
    assert answer == {"code": "invalid_input", "message": "Too short.", "field": "inputs.text"}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("import sys; sys.exit(3)", "sys.exit(3)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError('bad')", "The model raised ValueError: bad"),
        ("return 'text'", "'text' (str); its signature says INT64"),
        ("return 2 ** 70", "its signature says INT64"),
        ("return True", "its signature says INT64"),
        ("return [1, 2]", "with shape [2]; its signature says []"),
        ("return [[1], [2, 3]]", "parts differ in shape"),
        ("return {'other': 1}", "an output 'other'"),
        ("return {}", "without its output 'output'"),
        ("return None", "(NoneType)"),
        ("import numpy; return numpy.float64(1.5)", "as float64; its signature says INT64"),
        ("return (number for number in [])", "no piece at all"),
        ("import asyncio\n    async def f(): pass\n    return f()", "a coroutine"),
        ("return predict(number)", "RecursionError"),
    ],
)
def test_what_the_model_does_wrong_is_said_and_the_next_call_is_answered(tmp_path, statement, message):
    source = f"def predict(number):\n    if number == 7:\n        return 7\n    {statement}"
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", write(tmp_path, source), options(signature([NUMBER], [RESULT])))
        (answer,) = executor.batch({"number": np.array(1)})
        (after,) = executor.batch({"number": np.array(7)})
    assert answer["code"] == "internal"
    assert message in answer["message"]
    assert after["output"].item() == 7


def test_nan_in_json_is_refused_with_a_sentence(tmp_path):
    answer, _ = one(
        tmp_path,
        "def predict(number):\n    return {'a': float('nan')}",
        signature([NUMBER], [JSON]),
        {"number": np.array(1)},
    )
    assert "JSON has no word for" in answer["message"]


def test_text_that_is_not_json_is_the_callers_error(tmp_path):
    answer, _ = one(
        tmp_path,
        "def predict(record):\n    return 1",
        signature([spec("record", "BYTES", kind="json")], [RESULT]),
        {"record": np.array("{")},
    )
    assert (answer["code"], answer["field"]) == ("invalid_input", "inputs.record")


def test_predict_batch_with_too_few_results_is_told(tmp_path):
    answer, _ = one(
        tmp_path,
        "class Model:\n    def predict_batch(self, records):\n        return []",
        signature([NUMBER], [RESULT]),
        {"number": np.array(1)},
        entry="Model",
    )
    assert answer["message"] == "The model answered 0 results for 1 records."


def test_without_declared_outputs_values_keep_their_own_types(tmp_path):
    answer, _ = one(
        tmp_path,
        "def predict(number):\n"
        "    return {'i': 1, 'f': [1, 2.5], 'b': True, 't': 'x', 'j': {'a': None}, 'r': [[1], [2, 3]]}",
        signature([NUMBER], []),
        {"number": np.array(1)},
    )
    assert (answer["i"].dtype, answer["f"].tolist(), answer["b"].dtype) == ("int64", [1.0, 2.5], "bool")
    assert (answer["t"].item(), answer["j"].item(), answer["r"].item()) == (
        b"x",
        b'{"a":null}',
        b"[[1],[2,3]]",
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; sys.exit(4)", "called sys.exit(4) while it was loaded"),
        ("1 / 0", "division by zero"),
        ("predict = 3", "has no function predict"),
        ("async def predict(number): pass", "is an async function"),
        ("def predict(other): pass", "'number', which predict() in model.py does not take"),
        ("def predict(number, other): pass", "takes 'other', which the signature does not have"),
        ("import no_such_module_at_all", "no_such_module_at_all"),
        ("def predict(:", "invalid syntax"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_why_and_ends(tmp_path, source, message):
    assert message in failure(tmp_path, source, signature([NUMBER], [RESULT]))


def test_a_class_without_predict_is_refused(tmp_path):
    assert "neither predict nor predict_batch" in failure(
        tmp_path, "class Model: pass", signature([NUMBER], [RESULT]), "Model"
    )


def test_a_predict_batch_that_is_a_generator_is_refused(tmp_path):
    source = "class Model:\n    def predict_batch(self, records):\n        yield 1\n"
    assert "is a generator" in failure(tmp_path, source, signature([NUMBER], [RESULT]), "Model")


@pytest.mark.parametrize(
    ("output", "pieces", "whole"),
    [
        (spec("output", "BYTES", kind="text"), "'Hel', 'lo'", b"Hello"),
        (JSON, "{'a': 1}, 'b'", b'[{"a":1},"b"]'),
        (RESULT, "1, 2, 3", 3),
        (spec("output", "INT64", (-1,)), "1, 2, 3", [1, 2, 3]),
        (spec("output", "INT64", (-1, 2)), "[1, 2], [3, 4]", [[1, 2], [3, 4]]),
    ],
)
def test_a_call_without_a_stream_gets_the_pieces_put_together(tmp_path, output, pieces, whole):
    source = f"def predict(number):\n    yield from ({pieces})\n"
    answer, _ = one(tmp_path, source, signature([NUMBER], [output]), {"number": np.array(1)})
    assert answer["output"].tolist() == whole


def test_an_iterator_that_is_returned_is_put_together_too(tmp_path):
    source = "def predict(number):\n    return map(str, range(number))\n"
    described = signature([NUMBER], [spec("output", "BYTES", kind="text")])
    answer, _ = one(tmp_path, source, described, {"number": np.array(4)})
    assert answer["output"].item() == b"0123"


def test_a_generator_that_yields_nothing_is_an_error(tmp_path):
    source = "def predict(number):\n    yield from ()\n"
    answer, _ = one(tmp_path, source, signature([NUMBER], [RESULT]), {"number": np.array(1)})
    assert answer["message"] == "The model answered no piece at all."


def test_a_record_that_needs_too_much_memory_is_too_large_and_its_mates_are_answered(tmp_path):
    source = "def predict(number):\n    if number == 2:\n        raise MemoryError\n    return number\n"
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", write(tmp_path, source), options(signature([NUMBER], [RESULT])))
        first, second, third = executor.batch(*({"number": np.array(each)} for each in (1, 2, 3)))
    assert (first["output"], third["output"]) == (1, 3)
    assert second["code"] == "too_large" and "more memory" in second["message"]
