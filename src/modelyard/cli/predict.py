"""``modelyard predict``: a record from options, a file or stdin; the answer as a table or as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

import typer

from modelyard.cli.deploy import example_of
from modelyard.cli.output import print_error, print_facts, print_json
from modelyard.client.records import plain
from modelyard.client.synchronous import Client
from modelyard.core.errors import InvalidInput, ModelyardError

Record = dict[str, Any]


def read_record(input: str | None, pairs: list[str], text: str | None, parameters: list[str]) -> Any:
    """The record, or the list of records, that the options mean. Raises BadParameter (exit 2) for wrong use."""
    given = dict(
        [
            *(pair_of(pair, "--set") for pair in pairs),
            *(pair_of(pair, "--parameter") for pair in parameters),
        ]
    )
    record: Any = {}
    if input is not None:
        record = _read_json(input)
    elif not pairs and text is None and not sys.stdin.isatty():
        record = _read_json("-")
    elif not pairs and text is None:
        raise typer.BadParameter(
            "Nothing to predict from: give --set, --text or -i FILE (- for stdin).", param_hint="--input"
        )
    if isinstance(record, list) and (pairs or text is not None or parameters):
        raise typer.BadParameter(
            "A list of records takes no --set, --text or --parameter.", param_hint="--input"
        )
    if isinstance(record, dict):
        record |= given
    return record


def run(name: str, record: Any, text: str | None, call: Record, *, as_json: bool) -> None:
    """Raises what the node says of the record; with a list, exits 1 when a record failed.

    ``call``: the ``timeout``, ``priority`` and ``cache`` of :meth:`Client.predict`.
    """
    with Client() as client:
        if isinstance(record, list):
            _run_batch(client, name, record, call, as_json=as_json)
            return
        if not isinstance(record, dict):
            raise InvalidInput(
                'A record is a JSON object of inputs by name, such as {"x": 1}.', field="--input"
            )
        if text is not None:
            record = place_text(client, name, record, text)
        outputs = client.predict(name, record, raw=True, **call)
    if as_json:
        print_json(outputs)
    else:
        print_facts([(output, show(value)) for output, value in outputs.items()])


def run_stream(name: str, record: Any, text: str | None, call: Record, *, as_json: bool) -> None:
    """Print each piece as it comes: a lone text as it is, anything else (and with --json) a line of JSON."""
    if not isinstance(record, dict):
        raise InvalidInput("A stream answers one record, a JSON object of inputs by name.", field="--input")
    texts = False

    def show_piece(piece: Record) -> None:
        nonlocal texts
        values = list(piece.values())
        texts = not as_json and len(values) == 1 and isinstance(values[0], str)
        print(values[0] if texts else json.dumps(piece, ensure_ascii=False), end="" if texts else "\n")
        sys.stdout.flush()

    with Client() as client:
        if text is not None:
            record = place_text(client, name, record, text)
        try:
            client.predict_stream(
                name, record, show_piece, timeout=call["timeout"], priority=call["priority"]
            )
        finally:
            if texts:
                print()


def print_example(name: str) -> None:
    """A record that the model can answer, as JSON."""
    with Client() as client:
        record = example_of(client, client.endpoint(name))
    if record is None:
        raise InvalidInput(f"Nothing is known of the inputs of {name} until it is ready.", field="NAME")
    print_json(record)


def show(value: Any) -> str:
    """A value for a person: a long list by its beginning, its length and its shape."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    if len(text) <= 400 or not isinstance(value, list):
        return text
    shape, inner = [], value
    while isinstance(inner, list):
        shape.append(str(len(inner)))
        inner = inner[0] if inner else None
    flat = value
    while flat and isinstance(flat[0], list):
        flat = flat[0]
    beginning = ", ".join(json.dumps(item, ensure_ascii=False) for item in flat[:6])
    return f"[{', '.join(shape)}]: {beginning}, … (--json shows all)"


def _run_batch(client: Client, name: str, records: list[Any], call: Record, *, as_json: bool) -> None:
    show_outcomes(client.predict_batch(name, records, raw=True, **call), as_json=as_json)


def show_outcomes(outcomes: list[Record | ModelyardError], *, as_json: bool) -> None:
    """What each record of a batch was answered. Exits 1 when one failed."""
    failed = [outcome for outcome in outcomes if isinstance(outcome, ModelyardError)]
    if as_json:
        print_json([error_body(one) if isinstance(one, ModelyardError) else one for one in outcomes])
    else:
        for index, outcome in enumerate(outcomes):
            print(f"record {index}")
            if isinstance(outcome, ModelyardError):
                print_error(outcome, as_json=False)
            else:
                print_facts([(f"  {output}", show(value)) for output, value in outcome.items()])
    if failed:
        raise typer.Exit(1)


def error_body(error: ModelyardError) -> Record:
    return {"error": error.message, "code": error.code, "field": error.field}


def place_text(client: Client, name: str, record: Record, text: str) -> Record:
    """Put the text under the name of the one text input of the signature."""
    signature = client.endpoint(name).signature
    inputs = signature.inputs if signature is not None else ()
    candidates = [spec.name for spec in inputs if spec.kind == "text"] or [
        spec.name for spec in inputs if spec.datatype == "BYTES"
    ]
    if len(candidates) != 1:
        known = ", ".join(spec.name for spec in inputs) or "none yet"
        raise InvalidInput(
            f"--text needs a model with one text input; the inputs of {name} are: {known}. Use --set NAME=VALUE.",
            field="--text",
        )
    if candidates[0] in record:
        raise InvalidInput(
            f"{candidates[0]!r} is given twice, by --text and in the record.", field="--text"
        )
    return record | {candidates[0]: text}


def pair_of(pair: str, option: str) -> tuple[str, Any]:
    """``NAME=VALUE``: JSON, or text; ``@FILE`` is what is in a file. Raises BadParameter (exit 2)."""
    name, equals, value = pair.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{pair!r} is not NAME=VALUE.", param_hint=option)
    if value.startswith("@") and option != "--parameter":
        return name, _read_file(value[1:], option)
    try:
        return name, json.loads(value, parse_constant=_no_constant)
    except ValueError:
        return name, value


def _read_file(path: str, option: str) -> Any:
    """A file as a value: text, or what stands for bytes."""
    try:
        return plain(Path(path).expanduser().read_bytes(), path)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read: {error.strerror}.", param_hint=option) from error


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is text here, JSON has no such number")


def _read_json(source: str) -> Any:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise typer.BadParameter(
            f"{source} cannot be read: {error.strerror}.", param_hint="--input"
        ) from error
    try:
        return json.loads(data)
    except ValueError as error:
        place = "stdin" if source == "-" else source
        raise InvalidInput(f"{place} is not JSON: {error}.", field="--input") from error
