"""What may be said with a push, in one place for both clients; checked before any work is done."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from modelyard.client.deploy_flow import Signer
from modelyard.client.options import Options, settings_of
from modelyard.core.card import Card, check_card
from modelyard.core.errors import InvalidInput
from modelyard.core.licence import check_listed
from modelyard.core.metrics import figures_table
from modelyard.core.names import check_name
from modelyard.core.reference import check_alias
from modelyard.objects.compare import TOLERANCE
from modelyard.registry.signing import signer

_OF_OBJECTS = ("example", "processor", "tolerance")
_OF_FILES = ("sha256", "tracking_uri")
_TEXTS = ("name", "sha256", "tracking_uri", "because", "description", "task", "licence", "alias")


class Terms(Options, total=False):
    """What may be said with a push; what is not (or None) is not said.

    Of an object: ``example`` is what it is called with: rows of numpy or pandas, tensors, texts, records. What was saved
    is loaded by another process and has to answer it as the object does, but for ``tolerance`` (relative to the largest
    number of an output; 1e-4); its first record becomes the version's example. ``processor``: the tokenizer of a model of
    transformers. Of files: ``sha256`` is the checksum that a file of the web must have, ``tracking_uri`` where MLflow is.

    ``trust_pickle`` allows a format that runs code when it loads, where there is no other; ``because`` is kept beside
    it. ``description`` (Markdown), ``task``, ``licence`` (SPDX) and ``tags`` fill the model's card with what it does not say
    yet; ``metrics`` are the version's own.
    ``sign`` is the file of a private key (or :func:`modelyard.signer` of it) by which the files are signed, before they
    are sent.
    ``alias`` is moved to the version; ``deploy`` deploys it on the endpoint of the model's name, with the rest, which
    are the options of a deployment. ``quiet``: nothing is shown meanwhile.
    """

    example: object
    processor: object
    tolerance: float | None
    sha256: str | None
    tracking_uri: str | None
    trust_pickle: bool
    because: str
    description: str | None
    task: str | None
    licence: str | None
    tags: Sequence[str]
    metrics: Mapping[str, float] | None
    sign: str | Path | Signer | None
    alias: str | None
    deploy: bool
    quiet: bool


class Wanted(NamedTuple):
    """What was asked for, checked. ``name`` is None where files may name themselves."""

    name: str | None
    card: Card
    settings: Mapping[str, Any]
    example: object = None
    processor: object = None
    tolerance: float = TOLERANCE
    sha256: str | None = None
    tracking_uri: str | None = None
    trusted: bool = False
    because: str = ""
    sign: Signer | None = None
    alias: str | None = None
    deploy: bool = False
    quiet: bool = False


def wanted_of(name: str | None, terms: Mapping[str, Any], *, files: bool) -> Wanted:
    """``terms`` (see :class:`Terms`) of a push of files, or of an object, which has to have a ``name``.

    Raises InvalidInput for everything that can be wrong without looking at what is pushed.
    """
    own = Terms.__annotations__.keys() - Options.__annotations__.keys()
    given = {each: value for each, value in terms.items() if each in own and value is not None}
    options = {each: value for each, value in terms.items() if each not in own}
    for option in options.keys() - Options.__annotations__.keys():
        if near := difflib.get_close_matches(option, own, 1):
            raise InvalidInput(f"There is no option {option!r}; did you mean {near[0]!r}?", field=option)
    settings = settings_of(options)
    for each in _OF_OBJECTS if files else _OF_FILES:
        if each in given:
            raise InvalidInput(
                f"Files bring their example with them (model.yaml); {each} is for objects."
                if files
                else f"{each} is for files; what is pushed is an object.",
                field=each,
            )
    if name is None and not files:
        raise InvalidInput("An object has no name of its own: push(model, NAME).", field="name")
    if options and not given.get("deploy"):
        raise InvalidInput(
            f"{next(iter(options))} is an option of a deployment; say deploy=True, too.",
            field=next(iter(options)),
        )
    for each, value in {"name": name, **given}.items():
        if each in _TEXTS and value is not None and not isinstance(value, str):
            raise InvalidInput(f"{each} is a text, not {str(value)[:80]!r}.", field=each)
    if given.get("alias") is not None:
        check_alias(given["alias"])
    return Wanted(
        name=None if name is None else check_name(name), card=_card(given), settings=settings,
        example=given.get("example"), processor=given.get("processor"), tolerance=given.get("tolerance", TOLERANCE),
        sha256=given.get("sha256"), tracking_uri=given.get("tracking_uri"), trusted=bool(given.get("trust_pickle")),
        because=given.get("because", ""), sign=_signer(given.get("sign")), alias=given.get("alias"), deploy=bool(given.get("deploy")),
        quiet=bool(given.get("quiet")),
    )  # fmt: skip


def _signer(sign: Any) -> Signer | None:
    if sign is None:
        return None
    if isinstance(sign, str | Path):
        return signer(sign)
    if callable(sign):
        return cast("Signer", sign)
    # What it is, is not told: it may be the key itself.
    raise InvalidInput(
        f"sign is the path of a private key, or what modelyard.signer gives, not a {type(sign).__name__}.",
        field="sign",
    )


def _card(given: Mapping[str, Any]) -> Card:
    tags = given.get("tags", ())
    words: tuple[Any, ...] = (
        tuple(tags) if isinstance(tags, Iterable) and not isinstance(tags, str) else (None,)
    )
    if not all(isinstance(word, str) for word in words):
        raise InvalidInput("tags is a list of words.", field="tags")
    metrics = given.get("metrics", {})
    if not isinstance(metrics, Mapping):
        raise InvalidInput("metrics is a dict of figures, such as {'accuracy': 0.93}.", field="metrics")
    tables = (figures_table(metrics),) if metrics else ()
    if given.get("licence") is not None:
        check_listed(given["licence"])
    card = Card(
        text=given.get("description"), task=given.get("task"), licence=given.get("licence"), tags=words,
        metrics=tables,
    )  # fmt: skip
    return check_card(card)
