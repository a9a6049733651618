"""RXNMapper: which atom of the product was which of the reactants."""

from modelyard_executor.adapter import InvalidInput


class Model:
    """As the package's README calls it; a batch is one call."""

    def load(self, folder):
        from rxnmapper import RXNMapper

        self._mapper = RXNMapper()

    def predict(self, reaction: str):
        return self.predict_batch([{"reaction": reaction}])[0]

    def predict_batch(self, records):
        for record in records:
            if record["reaction"].count(">") != 2:
                raise InvalidInput("inputs.reaction", "A reaction is reactants>>product.")
        return self._mapper.get_attention_guided_atom_maps([record["reaction"] for record in records])
