"""Libraries that are imported when a test first uses them: every worker collects every file, and few use each."""

import importlib
from functools import cache
from typing import Any


class Later:
    """Stands for the module of a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


class Dataset:
    """Stands for one of those that come with scikit-learn: ``data`` and ``target``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(_loaded(self._name), name)


@cache
def _loaded(name: str) -> Any:
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")()
