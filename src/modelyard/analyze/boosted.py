"""What boosted trees take and give; shared by the formats that hold them.

The names of inputs and outputs are scikit-learn's here (``features`` or the columns' own; ``label``,
``probabilities``, ``prediction``), so that a model may move between the libraries without its callers seeing it.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from modelyard.analyze.plain import plain
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import RejectedContent
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature, TensorSpec

# binary: one probability · labels: a probability for each of several · classes: probabilities of one of several
# · numbers: what the trees say, as it is
Task = Literal["binary", "labels", "classes", "numbers"]
MOST_COLUMNS = 1_000_000


class Boosted(NamedTuple):
    """A model. ``width``: how many classes or numbers it answers a record with. ``names``: of the columns, empty
    when they have none. ``categories``: the texts that a column's codes stand for, by the column's name.
    ``coded``: names of columns that take a category's code, ``texts``: that take any text. ``labels``: what the
    classes are called; without them they are numbers from 0."""

    task: Task
    width: int
    columns: int
    datatype: str  # of numbers in and out: FP32 or FP64
    names: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = {}
    coded: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    labels: tuple[str, ...] | tuple[int, ...] = ()


def described(
    model: Boosted, path: str, *, format: str, adapter: str, requirements: tuple[str, ...]
) -> Analysis:
    """The analysis, without sizes and details. Raises RejectedContent for a model that cannot be."""
    if not 0 < model.columns <= MOST_COLUMNS or not 0 < model.width <= MOST_COLUMNS:
        raise RejectedContent(
            f"{path} is corrupt: it would have {model.columns} columns and answer {model.width} numbers.",
            field=path,
        )
    if model.names and (len(set(model.names)) != model.columns or "" in model.names):
        raise RejectedContent(
            f"{path} has {model.columns} columns, but names {len(set(model.names))} different ones. Save the "
            "model again.",
            field=path,
        )
    signature = Signature(inputs=_inputs(model), outputs=_outputs(model), batched=True)
    return Analysis(
        format=format,
        adapter=adapter,
        signature=signature,
        requirements=requirements,
        options={
            "file": path,
            "task": model.task,
            "columns": list(model.names),
            "categories": {name: list(texts) for name, texts in model.categories.items()},
            "coded": [index for index, name in enumerate(model.names) if name in model.coded],
            "texts": [index for index, name in enumerate(model.names) if name in model.texts],
            "labels": list(model.labels),
            "signature": plain(signature),
        },
        example=_example(model),
    )


def _inputs(model: Boosted) -> tuple[TensorSpec, ...]:
    if not model.names:
        return (TensorSpec(name="features", datatype=model.datatype, shape=(model.columns,), kind="table"),)
    return tuple(_column(model, name) for name in model.names)


def _column(model: Boosted, name: str) -> TensorSpec:
    if texts := model.categories.get(name):
        told = ", ".join(texts[:20]) + (" …" if len(texts) > 20 else "")
        return TensorSpec(
            name=name, datatype="BYTES", kind="label", optional=True, description=f"one of {told}"[:500]
        )
    if name in model.texts:
        return TensorSpec(name=name, datatype="BYTES", kind="label", description="a category")
    what = "the code of a category, from 0" if name in model.coded else ""
    return TensorSpec(name=name, datatype=model.datatype, kind="table", description=what)


def _outputs(model: Boosted) -> tuple[TensorSpec, ...]:
    many = (model.width,)
    if model.task == "numbers":
        return (
            TensorSpec(name="prediction", datatype=model.datatype, shape=many if model.width > 1 else ()),
        )
    over = "1 where its probability is over 0.5" if not model.labels else ""
    datatype = "BYTES" if model.labels and isinstance(model.labels[0], str) else "INT64"
    label, probabilities = {
        "binary": (TensorSpec(name="label", datatype=datatype, kind="label", description=over), (2,)),
        "labels": (
            TensorSpec(name="label", datatype="INT64", shape=many, kind="label", description=over),
            many,
        ),
        "classes": (TensorSpec(name="label", datatype=datatype, kind="label"), many),
    }[model.task]
    return (label, TensorSpec(name="probabilities", datatype=model.datatype, shape=probabilities))


def _example(model: Boosted) -> dict[str, object]:
    assert model.datatype in DATATYPES
    if not model.names:
        return {"features": [0.0] * model.columns}
    return {
        name: model.categories[name][0]
        if model.categories.get(name)
        else ""
        if name in model.texts
        else 0.0
        for name in model.names
    }
