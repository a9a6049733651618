"""DeepLC: when a peptide, with any modification, leaves the column; by the package's ``predict``."""

from modelyard_executor.adapter import InvalidInput


class Model:
    """A batch is one call."""

    def load(self, folder):
        import deeplc

        self._predict = deeplc.predict
        self.predict("ACDEK")

    def predict(self, peptidoform: str):
        return self.predict_batch([{"peptidoform": peptidoform}])[0]

    def predict_batch(self, records):
        peptides = [_peptide(record["peptidoform"]) for record in records]
        found = self._predict(peptides, predict_kwargs={"device": "cpu"})
        return [{"retention_time": float(each)} for each in found]


def _peptide(text):
    from psm_utils import Peptidoform

    try:
        found = Peptidoform(text)
        found.theoretical_mass  # noqa: B018 (raises for a modification that nobody knows)
    except Exception as error:  # noqa: BLE001 (its reader raises whatever it meets)
        raise InvalidInput(
            "inputs.peptidoform", f"This is not a peptidoform in ProForma: {error}"
        ) from None
    return found
