"""Language models in GGUF files, by llama.cpp: whole texts, several at a time, or piece by piece."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Dict, Iterator, Mapping, Sequence, Union

from ..adapter import InvalidInput, Item, ItemError, Outputs
from .record_adapter import Record, RecordAdapter

_SLOTS = 4  # texts that are written at a time
# name: least, most (both may be)
_RANGES = {
    "max_new_tokens": (1, 100_000), "temperature": (0.0, 100.0), "top_k": (0, 1_000_000), "top_p": (1e-6, 1.0),
    "repetition_penalty": (0.01, 100.0), "seed": (-1, 2**32 - 2),
}  # fmt: skip


class Adapter(RecordAdapter):
    """llama.cpp's own server in this process puts together what is written at a time."""

    streams = True

    def open(self, files: Path, device: str, options: Mapping[str, Any]) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(files / str(options["file"]))
        params.n_parallel = _SLOTS
        params.n_ctx, params.kv_unified = int(options["context"]), True  # of all of them together
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(options["threads"])
        params.n_gpu_layers = 0 if device == "cpu" else 999
        params.warmup = False
        # It opens an HTTP server of its own, which is nobody's: a socket in the process's own folder.
        params.hostnames = [str(Path.cwd() / "llama.sock")]
        params.ui = False
        self._server = xllamacpp.Server(params)
        self._writers = ThreadPoolExecutor(_SLOTS, thread_name_prefix="writes")

    def check(self, record: Record) -> None:
        for name, (least, most) in _RANGES.items():
            if not least <= record[name] <= most:
                raise InvalidInput("parameters." + name, "%s is from %g to %g." % (name, least, most))
        if not record["prompt"]:
            raise InvalidInput("inputs.prompt", "The prompt is empty; there is nothing to go on from.")

    def compute(self, records: Sequence[Record]) -> Sequence[Union[Record, ItemError]]:
        return list(self._writers.map(self._write, records))

    def _write(self, record: Record) -> Union[Record, ItemError]:
        try:
            return _whole(self._call(record), bool(record.get("chat")))
        except ItemError as error:
            return error

    def _call(self, record: Record, told: Any = None) -> Dict[str, Any]:
        asked: Dict[str, Any] = {
            "max_tokens": record["max_new_tokens"],
            "temperature": record["temperature"],
            "top_k": record["top_k"],
            "top_p": record["top_p"],
            "min_p": 0.0,
            "repeat_penalty": record["repetition_penalty"],
            "seed": record["seed"],
            "cache_prompt": False,  # what was asked before changes nothing
        }
        if told is not None:
            asked["stream"] = True
        more = [] if told is None else [told]
        try:
            if record.get("chat"):
                turns = [{"role": "user", "content": record["prompt"]}]
                if record["system"]:
                    turns.insert(0, {"role": "system", "content": record["system"]})
                answer = self._server.handle_chat_completions({**asked, "messages": turns}, *more)
            else:
                answer = self._server.handle_completions({**asked, "prompt": record["prompt"]}, *more)
        except RuntimeError as error:
            raise ItemError("llama.cpp says: %s" % error) from None
        _refuse(answer)
        return answer or {}

    def stream(self, item: Item) -> Iterator[Outputs]:
        """The text as it is written. It ends early when the iterator is closed."""
        (record, *more) = self._records(item)
        if more:
            raise InvalidInput(
                "inputs", "A streamed call is of one record; this one has %d." % (len(more) + 1)
            )
        left = threading.Event()
        pieces: "SimpleQueue[Any]" = SimpleQueue()

        def told(chunk: Any) -> bool:
            pieces.put(chunk)
            return left.is_set()

        def run() -> None:
            try:
                self._call(record, told)
                pieces.put(None)
            except BaseException as error:
                pieces.put(error)

        running = self._writers.submit(run)
        tokens = 0
        try:
            while True:
                piece = pieces.get()
                if piece is None:
                    return
                if isinstance(piece, BaseException):
                    raise piece
                _refuse(piece)
                choice = (piece.get("choices") or [{}])[0]
                text = (choice.get("delta") or choice).get(
                    "content" if record.get("chat") else "text"
                ) or ""
                tokens += bool(text)
                answer: Record = {"text": text}
                if choice.get("finish_reason"):
                    usage = piece.get("usage") or {}
                    timings = piece.get("timings") or {}
                    tokens = usage.get("completion_tokens") or timings.get("predicted_n") or tokens
                    answer.update(tokens=tokens, finish_reason=choice["finish_reason"])
                if text or len(answer) > 1:
                    yield self._rows.answer([answer])
        finally:
            left.set()
            running.result()


def _whole(answer: Mapping[str, Any], chat: bool) -> Record:
    choice = answer["choices"][0]
    return {
        "text": (choice["message"]["content"] if chat else choice["text"]) or "",
        "tokens": answer["usage"]["completion_tokens"],
        "finish_reason": choice["finish_reason"],
    }


def _refuse(answer: Any) -> None:
    """Raise what llama.cpp answered instead of a text."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not error:
        return
    message = error.get("message", "") if isinstance(error, dict) else str(error)
    if isinstance(error, dict) and error.get("code") == 400:
        raise InvalidInput("inputs.prompt", "llama.cpp does not take it: %s" % message)
    raise ItemError("llama.cpp says: %s" % message)
