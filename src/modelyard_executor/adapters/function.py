"""Python functions: a ``model.py`` with ``predict(...)``, or with a class ``Model``.

    def predict(text: str, limit: int = 3): ...

    class Model:
        def load(self, folder): ...            # optional; ``folder`` is a Path to the model's files
        def predict(self, text): ...           # one record: inputs and parameters by name
        def predict_batch(self, records): ...  # optional, instead or as well: a list of dicts, a list of results

A ``predict`` that is a generator, or returns an iterator, streams: each value that it yields is a piece of
the answer. A call that does not ask for a stream gets the whole: pieces of text joined, of an output of
kind json the list of them, of an output whose shape begins with -1 the pieces as its rows, of any other
the last one; each output by itself where pieces are dicts.

A dict is outputs by name; anything else is the output ``output`` (so is a dict when the only output
declared is one of kind json under a name that the dict does not have). A model tells the caller that an
input is wrong by ``raise InvalidInput("inputs.text", "why")`` from ``modelyard_executor.adapter``; any
other exception is an error of the model.
"""

import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Union

from ..adapter import (
    Container,
    Cost,
    InvalidInput,
    Item,
    ItemError,
    LoadError,
    Outputs,
    Resources,
    Signature,
)
from ..compute import as_item_error, is_out_of_memory, too_large
from .rows import Rows
from .streaming import joined, pieces_of

_MODULE = "_modelyard_model"


class Adapter:
    """One imported module; records are computed one by one, or together by ``predict_batch``."""

    def load(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        """``options``: ``file`` (relative), ``entry`` (``predict`` or ``Model``), ``signature``."""
        path = files / str(options["file"])
        self._size = sum(file.stat().st_size for file in files.rglob("*") if file.is_file())
        self._signature: Signature = dict(options["signature"])
        self._rows = Rows(self._signature)
        try:
            entry = _entry(_import(path), str(options["entry"]), path.name)
            self._predict, self._predict_batch = _methods(entry, files, path.name)
        except SystemExit as error:
            raise LoadError(
                "%s called sys.exit(%s) while it was loaded" % (path.name, error.code)
            ) from error
        self.tolerance = None if self._predict_batch is None else 1e-4  # nothing is computed together
        if self._predict is not None:
            self._rows = Rows(self._signature, self._check_call(path.name))
        self.streams = inspect.isgeneratorfunction(self._predict)

    def _check_call(self, file: str) -> "set[str]":
        """Signature and function must agree. Gives the inputs that are annotated as numpy arrays."""
        parameters = inspect.signature(self._predict).parameters  # type: ignore[arg-type]
        names = set(self._rows.inputs) | {each["name"] for each in self._signature.get("parameters") or ()}
        open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        for name in sorted(names):
            known = parameters.get(name)
            if not open_ended and (known is None or known.kind is known.POSITIONAL_ONLY):
                raise LoadError("the signature has %r, which predict() in %s does not take" % (name, file))
        for name, known in parameters.items():
            by_name = known.kind in (known.POSITIONAL_OR_KEYWORD, known.KEYWORD_ONLY, known.POSITIONAL_ONLY)
            if by_name and known.default is known.empty and name not in names:
                raise LoadError(
                    "predict() in %s takes %r, which the signature does not have" % (file, name)
                )
            if by_name and known.default is known.empty and self._rows.inputs.get(name, {}).get("optional"):
                raise LoadError(
                    "the input %r is optional, so predict() in %s must give it a default" % (name, file)
                )
        return {
            name
            for name in self._rows.inputs
            if name in parameters and "ndarray" in str(parameters[name].annotation).lower()
        }

    def signature(self) -> Signature:
        return self._signature

    def cost(self) -> Cost:
        return {"cost": "rows", "shape": "rows"}

    def example(self) -> Optional[Dict[str, Any]]:
        return None

    def validate(self, item: Item) -> None:
        """What a value must be beyond its type is the model's to say; it raises InvalidInput."""

    def predict(self, items: Sequence[Item]) -> Sequence[Union[Outputs, ItemError]]:
        records: List[List[Dict[str, Any]]] = []
        results: List[Any] = [None] * len(items)
        for index, item in enumerate(items):
            try:
                records.append(self._rows.records(item))
            except InvalidInput as error:
                records.append([])
                results[index] = error
        answered: List[List[Any]] = []
        if self._predict_batch is not None:
            flat = [record for rows in records for record in rows]
            answers = iter(self._together(flat) if flat else [])
            answered = [[next(answers) for _ in rows] for rows in records]
        for index, rows in enumerate(records):
            if results[index] is not None:
                continue
            try:
                if self._predict_batch is None:
                    computed = [self._alone(record) for record in rows]
                else:
                    computed = answered[index]
                results[index] = self._rows.answer(computed)
            except ItemError as error:
                results[index] = error
        return results

    def _alone(self, record: Dict[str, Any]) -> Any:
        """The whole result of one record; of one that is given in pieces, the pieces put together."""
        try:
            result = _guarded(self._predict, **record)
            pieces = pieces_of(result)
            if pieces is None:
                return result
            return joined([self._rows.named(piece) for piece in _each(pieces)], self._rows.outputs)
        except Exception as error:
            if is_out_of_memory(error):
                raise too_large() from error
            raise

    def stream(self, item: Item) -> Iterator[Outputs]:
        """The answer to a call of one record as the model yields it."""
        (record, *more) = self._rows.records(item)
        if more:
            raise InvalidInput(
                "inputs", "A streamed call is of one record; this one has %d." % (len(more) + 1)
            )
        if self._predict is None:
            yield self._rows.answer(self._together([record]))
            return
        result = _guarded(self._predict, **record)
        pieces = pieces_of(result)
        for piece in [result] if pieces is None else _each(pieces):
            yield self._rows.answer([piece])

    def _together(self, records: List[Dict[str, Any]]) -> List[Any]:
        """The results of ``predict_batch``, one per record. Raises what makes the loop try them apart."""
        answers = _guarded(self._predict_batch, records)
        if isinstance(answers, (str, bytes, dict)) or not hasattr(answers, "__len__"):
            raise ItemError(
                "The model answered a %s from predict_batch, which must return a list."
                % type(answers).__name__
            )
        if len(answers) != len(records):
            raise ItemError("The model answered %d results for %d records." % (len(answers), len(records)))
        return list(answers)

    def resources(self) -> Resources:
        return {"memory_bytes": self._size, "device": "cpu"}

    def container(self) -> Container:
        return {"image": "python", "system_packages": []}


def _import(path: Path) -> Any:
    """The module at ``path``, under a name that no package has; its folder comes first on the path."""
    if not path.is_file():
        raise LoadError("there is no file %s among the model's files" % path.name)
    sys.path.insert(0, str(path.parent))
    sys.dont_write_bytecode = True  # a version's folder stays as it was laid out
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    # The files are shared by all replicas and are not ours to add to.
    sys.dont_write_bytecode = True
    spec.loader.exec_module(module)
    return module


def _entry(module: Any, name: str, file: str) -> Any:
    entry = getattr(module, name, None)
    if not callable(entry):
        raise LoadError("%s has no %s" % (file, "class Model" if name == "Model" else "function %s" % name))
    return entry


def _methods(entry: Any, files: Path, file: str) -> Any:
    """``predict`` and ``predict_batch`` of the entry; either may be None, not both."""
    if not inspect.isclass(entry):
        return _plain(entry, "predict", file), None
    model = entry()
    load = getattr(model, "load", None)
    if load is not None:
        _plain(load, "load", file)(files)
    predict = getattr(model, "predict", None)
    together = getattr(model, "predict_batch", None)
    if predict is None and together is None:
        raise LoadError("the class Model in %s has neither predict nor predict_batch" % file)
    return predict and _plain(predict, "predict", file), together and _plain(
        together, "predict_batch", file
    )


def _plain(function: Any, name: str, file: str) -> Callable[..., Any]:
    if not callable(function):
        raise LoadError("%s in %s cannot be called" % (name, file))
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise LoadError(
            "%s in %s is an async function; write a plain one that returns its result" % (name, file)
        )
    if name != "predict" and inspect.isgeneratorfunction(function):
        raise LoadError("%s in %s is a generator; only predict may be one" % (name, file))
    return function


def _guarded(function: Any, *args: Any, **values: Any) -> Any:
    """Call the model. Whatever it raises becomes this item's error; its sys.exit() stops nothing."""
    try:
        result = function(*args, **values)
    except ItemError:
        raise
    except SystemExit as error:
        raise ItemError("The model called sys.exit(%s) instead of answering." % error.code) from error
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        traceback.print_exc()
        sys.stderr.flush()
        raise as_item_error(error) from error
    if inspect.iscoroutine(result):
        result.close()
        raise ItemError("The model answered a coroutine; predict must return its result, not await it.")
    if inspect.isasyncgen(result):
        raise ItemError("The model answered an async generator; predict must be a plain one.")
    return result


def _each(pieces: Iterator[Any]) -> Iterator[Any]:
    """The pieces, with the model guarded at each; the model's generator ends with this one."""
    try:
        while True:
            piece = _guarded(next, pieces, _END)
            if piece is _END:
                return
            yield piece
    finally:
        end = getattr(pieces, "close", None)
        if end is not None:
            _guarded(end)


_END = object()
