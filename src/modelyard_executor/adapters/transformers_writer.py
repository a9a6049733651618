"""Text that a language model writes: whole, several prompts together, or piece by piece."""

import threading
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Dict, Iterator, List, Mapping, Sequence, Tuple, Union

from ..adapter import InvalidInput, ItemError, LoadError

WRITERS = {"text-generation": "AutoModelForCausalLM", "text2text-generation": "AutoModelForSeq2SeqLM"}
Prompt = Tuple[str, Mapping[str, Any]]
Row = Dict[str, Any]

_MOST = 32  # prompts that are written together
# name: least, most (both may be)
_RANGES = {
    "max_new_tokens": (1, 100_000), "temperature": (0.0, 100.0), "top_k": (0, 1_000_000),
    "top_p": (1e-6, 1.0), "repetition_penalty": (0.01, 100.0), "seed": (-1, 2**63 - 1),
}  # fmt: skip


class Writer:
    """Greedy with a ``temperature`` of 0, else sampled; ``limit`` is the tokens that a prompt and what
    follows may have together (of an encoder-decoder: each)."""

    def __init__(
        self, files: Path, torch: Any, model: Any, device: str, limit: int, defaults: Mapping[str, Any]
    ) -> None:
        transformers: Any = import_module("transformers")  # not the file beside this one
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                files, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError) as error:
            raise LoadError("transformers cannot load the tokenizer: %s" % error) from error
        self._transformers = transformers
        self._torch = torch
        self._model = model
        self._device = device
        self._limit = limit
        self._defaults = defaults
        self._apart = bool(model.config.is_encoder_decoder)  # the answer does not begin with the prompt
        self._tokenizer.padding_side = "right" if self._apart else "left"
        ends = model.generation_config.eos_token_id
        self._ends = set(ends) if isinstance(ends, (list, tuple)) else {ends} - {None}
        if self._tokenizer.pad_token_id is None:
            # Padding is masked: any token will do, and nothing is added to the vocabulary.
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.decode([0])

    def check(self, parameters: Mapping[str, Any], prompts: Sequence[str]) -> None:
        """Raise InvalidInput for a parameter that cannot be, and a prompt that is too long, or nothing."""
        given = {**self._defaults, **parameters}
        for name, (least, most) in _RANGES.items():
            value = given.get(name)
            if value is not None and not least <= value <= most:
                raise InvalidInput("parameters." + name, "%s is from %g to %g." % (name, least, most))
        for prompt in prompts:
            length = len(self._encode(prompt, given))
            if not length:
                raise InvalidInput("inputs", "The prompt is empty; there is nothing to go on from.")
            room = self._limit if self._apart else self._limit - int(given["max_new_tokens"])
            if length > room:
                raise InvalidInput(
                    "inputs",
                    "The prompt has %d tokens; the model reads %d%s. Shorten it%s."
                    % (length, self._limit, "" if self._apart else ", max_new_tokens of them written",
                       "" if self._apart else ", or write fewer tokens"),
                )  # fmt: skip

    def _encode(self, prompt: str, given: Mapping[str, Any]) -> List[int]:
        if given.get("chat"):
            turns = [{"role": "user", "content": prompt}]
            if given.get("system"):
                turns.insert(0, {"role": "system", "content": given["system"]})
            text = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            return self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._tokenizer(prompt)["input_ids"]

    def write(self, prompts: Sequence[Prompt]) -> List[Union[Row, ItemError]]:
        """The whole text for each prompt; those with the same parameters are written together."""
        alike: Dict[Any, List[int]] = {}
        for index, (_, parameters) in enumerate(prompts):
            given = {**self._defaults, **parameters}
            # What is drawn by a seed does not depend on who is beside it.
            alone = index if given.get("temperature") and given.get("seed", -1) >= 0 else -1
            key = (*sorted((name, given.get(name)) for name in _RANGES), alone)
            alike.setdefault(key, []).append(index)
        rows: List[Any] = [None] * len(prompts)
        for indexes in alike.values():
            for start in range(0, len(indexes), _MOST):
                chosen = indexes[start : start + _MOST]
                given = {**self._defaults, **prompts[chosen[0]][1]}
                written = self._generate(
                    [self._encode(prompts[i][0], {**self._defaults, **prompts[i][1]}) for i in chosen],
                    given,
                )
                for index, tokens in zip(chosen, written):
                    rows[index] = self._row(tokens)
        return rows

    def _row(self, tokens: List[int]) -> Row:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return {"text": text, "tokens": len(tokens), "finish_reason": self._finish(tokens)}

    def _finish(self, tokens: Sequence[int]) -> str:
        return "stop" if tokens and tokens[-1] in self._ends else "length"

    def _generate(self, encoded: List[List[int]], given: Mapping[str, Any], **more: Any) -> List[List[int]]:
        """The tokens after each prompt, up to and with the one that ends it."""
        torch = self._torch
        batch = self._tokenizer.pad({"input_ids": encoded}, return_tensors="pt").to(self._device)
        sampled: Dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if given.get("temperature"):
            if given.get("seed", -1) >= 0:
                torch.manual_seed(int(given["seed"]))
            sampled = {
                "do_sample": True,
                "temperature": float(given["temperature"]),
                "top_p": float(given["top_p"]),
                "top_k": int(given["top_k"]),
            }
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=int(given["max_new_tokens"]),
                repetition_penalty=float(given["repetition_penalty"]),
                num_beams=1,
                pad_token_id=self._tokenizer.pad_token_id,
                **sampled,
                **more,
            )
        # A decoder of its own begins with a token that is nobody's text.
        begin = 1 if self._apart else batch["input_ids"].shape[1]
        return [self._until_end(row[begin:]) for row in written.tolist()]

    def _until_end(self, tokens: List[int]) -> List[int]:
        for index, token in enumerate(tokens):
            if token in self._ends:
                return tokens[: index + 1]
        return tokens

    def stream(self, prompt: str, parameters: Mapping[str, Any]) -> Iterator[Row]:
        """The text as it is written. It ends early when the iterator is closed."""
        given = {**self._defaults, **parameters}
        left, boolean = threading.Event(), self._torch.bool
        pieces: "SimpleQueue[Any]" = SimpleQueue()
        streamer = self._transformers.TextIteratorStreamer(
            self._tokenizer, skip_prompt=not self._apart, skip_special_tokens=True
        )
        # Its texts go where the end and the error go, too.
        streamer.on_finalized_text = lambda text, stream_end=False: pieces.put(text)

        class Left(self._transformers.StoppingCriteria):  # type: ignore[name-defined]
            def __call__(self, ids: Any, scores: Any, **more: Any) -> Any:
                return ids.new_full((ids.shape[0],), left.is_set(), dtype=boolean)

        def run() -> None:
            try:
                criteria = self._transformers.StoppingCriteriaList([Left()])
                encoded = [self._encode(prompt, given)]
                tokens = self._generate(encoded, given, streamer=streamer, stopping_criteria=criteria)[0]
                pieces.put({"text": "", "tokens": len(tokens), "finish_reason": self._finish(tokens)})
            except BaseException as error:
                pieces.put(error)

        thread = threading.Thread(target=run, name="writes", daemon=True)
        thread.start()
        try:
            while True:
                piece = pieces.get()
                if isinstance(piece, BaseException):
                    raise piece
                if isinstance(piece, dict):
                    yield piece
                    return
                if piece:
                    yield {"text": piece}
        finally:
            left.set()
            thread.join()
