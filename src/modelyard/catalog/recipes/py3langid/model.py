"""py3langid: the language of a text, as the package's README calls it, with probabilities."""

from modelyard_executor.adapter import InvalidInput


class Model:
    def load(self, folder):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def predict(self, text: str, top_k: int = 3):
        if not text.strip():
            raise InvalidInput("inputs.text", "There is nothing to read.")
        if top_k < 1:
            raise InvalidInput("parameters.top_k", "top_k is 1 at least.")
        found = [
            {"lang": name, "score": float(score)} for name, score in self._identifier.rank(text)[:top_k]
        ]
        return {"language": found[0]["lang"], "score": found[0]["score"], "languages": found}
