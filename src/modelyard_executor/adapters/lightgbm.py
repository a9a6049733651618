"""LightGBM models, saved as text."""

from pathlib import Path
from typing import Any, Mapping

from ..adapter import LoadError
from .boosted import Boosted


class Adapter(Boosted):
    """One Booster. A category that training has not met counts as missing, as in LightGBM itself."""

    def open(self, path: Path, options: Mapping[str, Any]) -> None:
        import lightgbm

        try:
            self._booster = lightgbm.Booster(model_file=str(path))
        except lightgbm.basic.LightGBMError as error:
            raise LoadError("LightGBM cannot load %s: %s" % (path.name, str(error)[:500])) from error
        self._threads = int(options["threads"])

    def compute(self, matrix: Any) -> Any:
        return self._booster.predict(matrix, num_threads=self._threads)
