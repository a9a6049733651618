"""What the logits of an encoder mean: classes of a text, of its tokens, or words for its masks.

The arithmetic is that of transformers' pipelines (``transformers.pipelines``: text_classification,
token_classification, fill_mask), without their objects.
"""

import json
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..adapter import InvalidInput, LoadError
from .tokenizing import Tokenizer

Row = Dict[str, Any]  # the outputs of one text

_AGGREGATIONS = ("none", "simple", "first", "average", "max")


class Head:
    """``auto`` is the class of transformers. ``reduce`` is given the logits of a run as they lie on the
    device, and gives for each row what ``answer`` needs, as numpy."""

    auto = ""
    example: Dict[str, Any] = {"text": "Ada Lovelace wrote in London that she likes engines."}

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        labels = {int(number): str(name) for number, name in (config.id2label or {}).items()}
        self.labels = [labels[number] for number in sorted(labels)]
        self.config = config

    def edit(self, text: str) -> str:
        """The text as it is tokenized."""
        return text

    def check(self, encoding: Any, parameters: Mapping[str, Any]) -> None:
        """Raise InvalidInput for a text that has no answer."""

    def reduce(self, torch: Any, logits: Any, ids: Any, places: Sequence[slice]) -> List[Any]:
        raise NotImplementedError

    def answer(self, reduced: Any, text: str, encoding: Any, parameters: Mapping[str, Any]) -> Row:
        raise NotImplementedError


class Classifier(Head):
    """One label for a text; several classes exclude each other, unless the configuration says otherwise."""

    auto = "AutoModelForSequenceClassification"

    def reduce(self, torch: Any, logits: Any, ids: Any, places: Sequence[slice]) -> List[Any]:
        kind = self.config.problem_type
        if kind == "regression":
            scores = logits
        elif kind == "multi_label_classification" or logits.shape[-1] == 1:
            scores = logits.sigmoid()
        else:
            scores = logits.softmax(-1)
        return list(scores.cpu().numpy())

    def answer(self, reduced: Any, text: str, encoding: Any, parameters: Mapping[str, Any]) -> Row:
        best = int(reduced.argmax())
        return {"label": self.labels[best], "score": float(reduced[best]), "scores": reduced}


class Tagger(Head):
    """Labels of tokens, put together to entities: adjacent ones of the same tag, B- and I- understood."""

    auto = "AutoModelForTokenClassification"

    def check(self, encoding: Any, parameters: Mapping[str, Any]) -> None:
        if parameters.get("aggregation", "simple") not in _AGGREGATIONS:
            raise InvalidInput(
                "parameters.aggregation",
                "There is no aggregation %r; there are: %s."
                % (parameters["aggregation"], ", ".join(_AGGREGATIONS)),
            )

    def reduce(self, torch: Any, logits: Any, ids: Any, places: Sequence[slice]) -> List[Any]:
        scores = logits.softmax(-1).cpu().numpy()
        return [row[place] for row, place in zip(scores, places)]

    def answer(self, reduced: Any, text: str, encoding: Any, parameters: Mapping[str, Any]) -> Row:
        how = parameters.get("aggregation", "simple")
        pieces: List[Tuple[int, int, Any]] = []  # start, end, scores of each token or word
        words = encoding.word_ids if how in ("first", "average", "max") else [None] * len(encoding.ids)
        former = None
        groups: List[List[Any]] = []
        for scores, special, (start, end), word in zip(
            reduced, encoding.special_tokens_mask, encoding.offsets, words
        ):
            if special:
                former = None
                continue
            if word is not None and word == former:
                groups[-1].append(scores)
                pieces[-1] = (pieces[-1][0], end, None)
            else:
                groups.append([scores])
                pieces.append((start, end, None))
            former = word
        whole = [(start, end, _of_word(group, how)) for (start, end, _), group in zip(pieces, groups)]
        found = [
            {"entity": self.labels[int(scores.argmax())], "score": float(scores.max()), "start": start,
             "end": end, "word": text[start:end]}
            for start, end, scores in whole
        ]  # fmt: skip
        if how == "none":
            return {"entities": json.dumps([each for each in found if each["entity"] != "O"])}
        return {"entities": json.dumps(_grouped(found, text), ensure_ascii=False)}


def _of_word(scores: Sequence[Any], how: str) -> Any:
    """The scores of a word of several tokens."""
    if len(scores) == 1 or how == "first":
        return scores[0]
    if how == "average":
        return sum(scores) / len(scores)
    return max(scores, key=lambda each: each.max())


def _grouped(found: Sequence[Dict[str, Any]], text: str) -> List[Dict[str, Any]]:
    """Adjacent tokens of one tag as one entity; a B- begins another. What is outside (O) is left out."""
    entities: List[Dict[str, Any]] = []
    scores: List[float] = []
    former = "O"
    for each in found:
        label = each["entity"]
        begin, tag = (label[:2] == "B-", label[2:]) if label[:2] in ("B-", "I-") else (False, label)
        if tag == former and not begin:
            scores.append(each["score"])
            if tag != "O":
                last = entities[-1]
                last["end"], last["score"] = each["end"], sum(scores) / len(scores)
                last["word"] = text[last["start"] : last["end"]]
        else:
            scores = [each["score"]]
            if tag != "O":
                entities.append(dict(each, entity=tag))
        former = tag
    return entities


class Filler(Head):
    """The words that fit best in the place of each mask, which is written as [MASK] or as the model does."""

    auto = "AutoModelForMaskedLM"

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        if tokenizer.mask_id is None:
            raise LoadError("tokenizer_config.json names no mask_token, so no word can be masked")
        self.example = {"text": "The capital of France is %s." % tokenizer.mask}

    def edit(self, text: str) -> str:
        return text if self.tokenizer.mask in text else text.replace("[MASK]", self.tokenizer.mask)

    def check(self, encoding: Any, parameters: Mapping[str, Any]) -> None:
        if self.tokenizer.mask_id not in encoding.ids:
            raise InvalidInput(
                "inputs.text", "The text has no %s, so there is nothing to fill." % self.tokenizer.mask
            )
        if not 1 <= int(parameters.get("top_k", 5)) <= 1000:
            raise InvalidInput("parameters.top_k", "From 1 to 1000 words can be given for a mask.")

    def reduce(self, torch: Any, logits: Any, ids: Any, places: Sequence[slice]) -> List[Any]:
        masks = torch.from_numpy(ids == self.tokenizer.mask_id).to(logits.device)
        return [row[mask].softmax(-1).cpu().numpy() for row, mask in zip(logits, masks)]

    def answer(self, reduced: Any, text: str, encoding: Any, parameters: Mapping[str, Any]) -> Row:
        count = int(parameters.get("top_k", 5))
        filled = [
            [
                {"token": self.tokenizer.token(int(number)), "score": float(scores[number])}
                for number in scores.argsort()[::-1][:count]
            ]
            for scores in reduced
        ]
        return {"predictions": json.dumps(filled, ensure_ascii=False)}


HEADS = {"text-classification": Classifier, "token-classification": Tagger, "fill-mask": Filler}


def check_row(encoding: Any, limit: int, truncate: bool) -> None:
    """Raise InvalidInput for a text that is longer than the model reads, and not to be cut."""
    if encoding.overflowing and not truncate:
        raise InvalidInput(
            "inputs.text",
            "The text is longer than the %d tokens that the model reads; shorten it, or set truncate to true "
            "to have it cut." % limit,
        )
