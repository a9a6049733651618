"""An entry of the catalog as it would be deployed, without a platform: its files, environment and executor."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from executor.process import ExecutorProcess
from modelyard.analyze import analyze
from modelyard.catalog.catalog import load
from modelyard.core.model import Analysis
from modelyard.package.environment import Environments
from modelyard.pipeline.fetch import fetch
from modelyard.serve.codec import pack_record, unpack_record
from modelyard.store.files import FolderFiles
from modelyard_executor.tensor import Tensor, from_numpy


class Loaded:
    """A loaded model, asked with records and answering with records, as JSON has them."""

    def __init__(self, analysis: Analysis, executor: ExecutorProcess) -> None:
        assert analysis.signature is not None
        self.signature = analysis.signature
        self.example: dict[str, Any] = dict(analysis.example or {})
        self._executor = executor

    def predict(self, *records: dict[str, Any]) -> list[dict[str, Any]]:
        """The records as one batch; what was refused is the error, with ``code`` and ``message``."""
        specs = {spec.name: spec for spec in self.signature.inputs}
        items: list[dict[str, Any]] = []
        asked: list[dict[str, Any]] = []
        for record in records:
            item = {}
            for name in record.keys() & specs.keys():
                shape, data = pack_record(specs[name], record[name], name, self.signature.batched)
                item[name] = Tensor(specs[name].datatype, shape, data)
            items.append(item)
            asked.append({name: value for name, value in record.items() if name not in specs})
        return [self._record(answer) for answer in self._executor.batch(*items, parameters=asked)]

    def _record(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "code" in answer:
            return answer
        specs = {spec.name: spec for spec in self.signature.outputs}
        told: dict[str, Any] = {}
        for name, array in answer.items():
            tensor = from_numpy(array)
            data = bytes(tensor.data)
            value = unpack_record(
                specs.get(name), tensor.datatype, tensor.shape, data, self.signature.batched
            )
            told[name] = msgspec.json.decode(msgspec.json.encode(value))
        return told


@contextmanager
def loaded(
    name: str, place: Path, environments: Environments, *, mirror: Path | None = None
) -> Iterator[Loaded]:
    """The entry ``name``, its files below ``place``; from ``mirror`` where it has them."""
    entry = load().get(name)
    folder = fetch(entry, place / "files", mirror=mirror, progress=print)
    analysis = analyze(FolderFiles(folder))
    assert analysis.adapter == entry.adapter
    if entry.recipe is None and entry.example is not None:  # a family has one for all of its entries
        analysis = msgspec.structs.replace(analysis, example=entry.example)
    python = environments.ensure(analysis.requirements).python
    home = place / "executors" / name
    home.mkdir(parents=True)
    with ExecutorProcess(home, python=python, timeout=300.0) as executor:
        hello = executor.start(analysis.adapter, folder, analysis.options)
        assert hello["type"] == "HELLO", f"{hello}\n{executor.log}"
        yield Loaded(analysis, executor)
