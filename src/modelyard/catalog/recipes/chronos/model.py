"""Chronos and Chronos-Bolt: what comes next in a series, as the package's README calls them."""

from modelyard_executor.adapter import InvalidInput

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
MOST = 1024  # steps; each call of the network gives 64, and the error grows with them


class Model:
    """Records of one horizon are one call; the package pads the series of a batch by missing values."""

    def load(self, folder):
        import torch
        from chronos import BaseChronosPipeline

        self._pipeline = BaseChronosPipeline.from_pretrained(
            str(folder / "weights"), device_map="cpu", dtype=torch.float32, local_files_only=True
        )

    def predict(self, series: list[float], horizon: int):
        return self.predict_batch([{"series": series, "horizon": horizon}])[0]

    def predict_batch(self, records):
        import torch

        for record in records:
            if not record["series"]:
                raise InvalidInput("inputs.series", "There is no number to go on from.")
            if not 1 <= record["horizon"] <= MOST:
                raise InvalidInput("inputs.horizon", f"horizon is from 1 to {MOST}.")
        answers = {}
        for horizon in {record["horizon"] for record in records}:
            places = [index for index, record in enumerate(records) if record["horizon"] == horizon]
            series = [torch.tensor(records[index]["series"], dtype=torch.float32) for index in places]
            found, _ = self._pipeline.predict_quantiles(series, horizon, quantile_levels=LEVELS)
            answers.update(zip(places, found, strict=True))
        return [{"quantiles": answers[index].double()} for index in range(len(records))]
