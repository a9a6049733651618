"""The catalog's files are true to their schema, and are found by what they are."""

from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from modelyard.analyze.model_yaml import load_yaml
from modelyard.catalog.card import card_of
from modelyard.catalog.catalog import Catalog, Filter, load, memory_of, read
from modelyard.catalog.entry import Entry, Field, Licence, Source, check_entry
from modelyard.core.errors import Internal, InvalidInput, NotFound

FILES = sorted(files("modelyard.catalog").joinpath("entries").iterdir(), key=str)


def entry(name: str = "a", **fields: object) -> Entry:
    return Entry(
        **{
            "name": name,
            "title": name.upper(),
            "category": "docking",
            "description": "Docks.",
            "source": Source(hub="owner/name"),
            "licence": Licence(spdx="MIT", commercial=True),
            "framework": "pytorch",
            "adapter": "function",
            "inputs": (Field(name="x", kind="text"),),
            "outputs": (Field(name="y", kind="json"),),
            "gpu": "optional",
            "strategy": "cpu",
            "facts": {"source": "https://a.example", "licence": "https://a.example"},
            **fields,
        }  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_is_an_entry(file: Path) -> None:
    found = read(file)
    assert load_yaml(file.read_text(), file.name)  # no key twice, no tricks of YAML
    for line in found.requirements:
        Requirement(line)
    if found.source.package is not None:
        assert Requirement(found.source.package)
    assert found.description.endswith("."), "a sentence ends with a full stop"
    assert 20 <= len(found.description) <= 400


def test_no_two_entries_have_one_source() -> None:
    seen: dict[object, str] = {}
    for each in load().entries.values():
        key = (msgspec.structs.replace(each.source, sha256=None), msgspec.json.encode(each.options))
        assert key not in seen, f"{each.name} and {seen.get(key)} are from one place"
        seen[key] = each.name


def test_there_are_categories_and_the_whole_is_read_once() -> None:
    assert load() is load()
    assert sum(load().categories().values()) == len(load().entries) == len(FILES)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "A b"}, "name"),
        ({"source": Source()}, "source"),
        ({"source": Source(hub="a/b", git="https://a.example")}, "source"),
        ({"source": Source(hub="no-owner")}, "source.hub"),
        ({"source": Source(url="http://plain.example")}, "source.url"),
        ({"source": Source(url="https://a.example", sha256="abc")}, "source.sha256"),
        ({"licence": Licence(spdx="free for all", commercial=True)}, "licence.spdx"),
        ({"facts": {}}, "facts.source"),
        ({"facts": {"source": "https://a.example", "licence": "my memory"}}, "facts.licence"),
        ({"facts": {"source": "https://a.example", "licence": "https://a.example", "colour": "https://a.example"}}, "facts"),
        ({"parameters": 5}, "facts.parameters"),
        ({"gpu": "required"}, "facts.gpu"),
        ({"inputs": ()}, "inputs"),
        ({"example": {"z": 1}}, "example"),
    ],
)  # fmt: skip
def test_what_is_not_said_with_its_source_is_no_entry(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_entry(entry(**fields))
    assert caught.value.field == field


@pytest.mark.parametrize(
    "text", ["", "name: a", "name: [", "\t", "name: a\ncolour: red", "!!python/object:os.system {}"]
)
def test_a_file_that_is_no_entry_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(Internal, match=r"a\.yaml"):
        read(tmp_path / "a.yaml")


def test_filters_take_nothing_unknown_for_small() -> None:
    known = {"source": "https://a.example", "licence": "https://a.example", "parameters": "https://a.example",
             "memory": "https://a.example", "gpu": "https://a.example"}  # fmt: skip
    small = entry("small", parameters=10**6, facts=known)
    stated = entry(
        "stated", memory={"fp32": 9_000_000, "int8": 3_000_000}, facts=known, category="antibody"
    )
    gpu = entry("gpu", gpu="required", facts=known, licence=Licence(spdx="CC-BY-NC-4.0", commercial=False))
    catalog = Catalog([stated, small, gpu])
    assert list(catalog.entries) == ["gpu", "small", "stated"]

    def names(**wanted: object) -> list[str]:
        return [each.name for each in catalog.find(Filter(**wanted))]

    assert names() == ["gpu", "small", "stated"]
    assert names(category="antibody") == ["stated"]
    assert names(commercial=True) == ["small", "stated"]
    assert names(no_gpu=True) == ["small", "stated"]
    assert names(max_memory=4_000_000) == ["stated"]
    assert names(max_memory=5_000_000) == ["small", "stated"]
    assert names(max_parameters=10**6) == ["small"]
    assert [each.name for each in catalog.unknown(Filter(max_memory=1))] == ["gpu"]
    assert [each.name for each in catalog.unknown(Filter(max_parameters=1, commercial=True))] == ["stated"]
    assert catalog.unknown(Filter()) == []
    # Of "gpu" nothing is known; "small" is over what is wanted of its parameters, whatever its memory.
    both = Filter(max_memory=4_000_000, max_parameters=10)
    assert [each.name for each in catalog.unknown(both)] == ["gpu", "stated"]
    assert names(adapter="vina") == names(framework="jax") == []
    assert [memory_of(each) for each in (small, stated, gpu)] == [
        (4_800_000, False),
        (3_000_000, True),
        None,
    ]


def test_search_wants_all_words_and_puts_names_first() -> None:
    catalog = Catalog(
        [
            entry("alpha", description="Like beta, but older."),
            entry("beta"),
            entry("gamma", title="Beta's child", tags=("fast",)),
        ]
    )
    assert [each.name for each in catalog.find(Filter(text="BETA"))] == ["beta", "gamma", "alpha"]
    assert [each.name for each in catalog.find(Filter(text="beta fast"))] == ["gamma"]
    assert catalog.find(Filter(text="beta missing")) == []


def test_a_name_that_is_nearly_right_is_helped() -> None:
    with pytest.raises(NotFound, match="Did you mean beta"):
        Catalog([entry("beta")]).get("betta")


def test_every_entry_makes_a_card() -> None:
    """Deployed from the catalog, a model says what its entry has read."""
    for entry in load().entries.values():
        card = card_of(entry)
        assert (card.title, card.category, card.commercial) == (
            entry.title,
            entry.category,
            entry.licence.commercial,
        )
        assert card.licence is not None and card.licence.lower() == entry.licence.spdx.lower()
        assert len(card.tags) == len(set(entry.tags))
