"""One way to use a project: what is done once, what is done for each call, what a call is given; and how likely
it is that this is what the project is for.
"""

import re
from typing import Any, Final, NamedTuple

FILES: Final = frozenset(
    {"jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp", "wav", "mp3", "flac", "ogg", "m4a", "mp4",
     "avi", "mov", "pdb", "cif", "mmcif", "ent", "fasta", "fa", "fna", "faa", "sdf", "mol", "mol2", "pdbqt",
     "xyz", "csv", "tsv", "txt", "json", "jsonl", "pdf", "npy", "npz", "docx", "xlsx", "html", "xml", "vcf",
     "bam", "gff", "bed", "fastq", "fq", "nii", "dcm", "mid", "midi", "svg"}
)  # fmt: skip
_PATH = re.compile(r"[^\s<>|\"']{1,200}\.([A-Za-z0-9]{2,5})")
MISSING: Final[Any] = object()  # no example is known


class Input(NamedTuple):
    """What a call is given. ``annotation`` is Python's; ``default`` is source, None: it must be given;
    ``suffix``: it is a file, handed on by its path; ``example`` is JSON, ``MISSING`` where none is known."""

    name: str
    annotation: str
    example: Any
    default: str | None = None
    suffix: str | None = None
    variable: str = ""

    @property
    def missing(self) -> bool:
        return self.example is MISSING and self.default is None


class Usage(NamedTuple):
    """Source code: ``imports``, ``definitions`` and ``setup`` run once (names that setup binds are
    ``self.name`` elsewhere), ``body`` and then ``result`` for each call. ``target`` is what is called."""

    target: str
    shown: str
    place: str
    imports: tuple[str, ...]
    definitions: tuple[str, ...]
    setup: tuple[str, ...]
    body: tuple[str, ...]
    result: str
    inputs: tuple[Input, ...]
    files: tuple[str, ...]
    description: str
    unnamed: tuple[str, ...]
    checked: bool
    rank: int
    tier: int
    makes_object: bool
    presented: bool
    printed: bool


def suffix_of(text: str) -> str | None:
    """``.jpg`` of a text that is the path of a file, else None."""
    match = _PATH.fullmatch(text)
    if match is None or "://" in text or match[1].lower() not in FILES:
        return None
    return f".{match[1].lower()}"


VERBS = frozenset(
    {"predict", "detect", "classify", "infer", "inference", "extract", "embed", "embedding", "embeddings",
     "encode", "transcribe", "translate", "segment", "generate", "score", "scores", "parse", "tag", "fold",
     "dock", "run", "analyze", "analyse", "recognize", "recognise", "identify", "call", "forward",
     "process", "summarize", "correct", "split", "tokenize", "tokenise", "match", "search", "estimate",
     "compute", "evaluate", "transform", "vectorize", "polarity", "sentiment", "proba", "prob", "label",
     "ner", "pos", "ocr", "readtext", "answer", "complete", "chat", "synthesize", "tts", "asr", "annotate",
     "convert", "normalize", "check", "lookup", "guess", "rank", "similarity", "lemmatize", "stem",
     "hyphenate", "phonemize", "predictions", "design", "sample", "denoise", "enhance", "separate", "align",
     "cluster", "g2p", "apply", "query", "calculate", "censor", "contains", "prediction", "detection",
     "classification", "recognition", "segmentation", "generation", "extraction", "transcription",
     "translation", "summarization"}
)  # fmt: skip
_REFUSED = frozenset(
    {"train", "fit", "plot", "show", "save", "download", "register", "install", "configure", "config",
     "setup", "set", "add", "remove", "delete", "update", "log", "seed", "benchmark", "version", "help",
     "exit", "close", "open", "write", "export", "push", "upload", "test", "train_model", "compile",
     "summary", "reset", "load", "init", "make", "create", "build", "get", "disable", "enable", "print",
     "read", "render", "visualize", "draw"}
)  # fmt: skip


def words_of(name: str) -> list[str]:
    """``PolarityScores`` and ``polarity_scores`` as their words, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def is_answer(name: str) -> bool:
    """Whether a function is called as what computes an answer."""
    words = words_of(name)
    return any(word in VERBS for word in words) and not (words and words[0] in _REFUSED)


def score(usage: Usage) -> int:
    """How likely it is that this call is what the model is for."""
    last = usage.target.rpartition(".")[2]
    named = is_answer(last) or last == usage.target.partition(".")[0]  # the package's own name
    words = words_of(last)
    points = 100 - 22 * usage.rank - 15 * usage.tier
    if named:
        points += 30
    elif words and words[0] in _REFUSED and not usage.presented:
        points -= 60
    if usage.makes_object:
        points += -10 if usage.presented else -40
    points += 15 * usage.printed + 10 * usage.checked + 5 * usage.presented
    points -= 20 * sum(each.missing and each.suffix is None for each in usage.inputs)
    points -= 10 * sum(
        each.missing and each.suffix is not None and not usage.files for each in usage.inputs
    )
    points -= 40 * len(usage.unnamed)
    first = usage.inputs[0]
    if isinstance(first.example, list) and any(
        isinstance(each, str) and suffix_of(each) for each in first.example
    ):
        points -= 30  # paths in a list: nobody can send these
    if isinstance(first.example, str) and " " in first.example:
        points += 10
    return points
