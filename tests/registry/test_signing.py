"""File signatures: what we sign the library's own command verifies, and the other way round."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from modelyard.core.errors import InvalidInput, RejectedContent, Unavailable
from modelyard.core.manifest import FileEntry, Manifest, manifest_of
from modelyard.registry import signing
from modelyard.registry.signing import Signing, judge, sign
from modelyard.registry.versions import register
from modelyard.store.blobs import BlobStore
from modelyard.store.database import Database
from modelyard.store.signatures import Signatures
from modelyard.store.versions import Versions

FILES = {
    "model.py": b"def predict(text: str) -> str:\n    return text.upper()\n",
    "data/words.txt": b"a b c",
    ".gitattributes": b"* text",
}


class Keys:
    """A pair of keys, as openssl would write them."""

    def __init__(self, folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> None:
        self.private, self.public = folder / f"{name}.pem", folder / f"{name}.pub"
        write(ec.generate_private_key(curve or ec.SECP256R1()), self.private, self.public)


def write(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, private: Path, public: Path) -> None:
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path, "ours")


@pytest.fixture
def keep(blobs: BlobStore) -> Callable[[dict[str, bytes]], Manifest]:
    def keep(files: dict[str, bytes]) -> Manifest:
        entries = []
        for path, data in files.items():
            put = blobs.put([data])
            entries.append(FileEntry(path=path, size=put.size, sha256=put.sha256))
        return manifest_of(entries)

    return keep


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The library's own command line."""
    program = str(Path(sys.executable).with_name("model_signing"))
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda each: each.name
)
def test_what_we_sign_the_library_verifies(
    tmp_path: Path, keep: Callable[[dict[str, bytes]], Manifest], curve: ec.EllipticCurve
) -> None:
    keys = Keys(tmp_path, "ours", curve)
    folder = lay(tmp_path / "shout", FILES)
    bundle = sign(keep(FILES), "shout", keys.private)
    (folder / "model.sig").write_text(bundle)
    ask = ("verify", "key", folder, "--signature", folder / "model.sig", "--public_key", keys.public)
    done = command(*ask)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "data" / "words.txt").write_bytes(b"a b d")
    done = command(*ask)
    assert done.returncode != 0
    assert "words.txt" in done.stdout + done.stderr


def test_what_the_library_signs_we_verify(
    tmp_path: Path, keys: Keys, keep: Callable[[dict[str, bytes]], Manifest]
) -> None:
    folder = lay(tmp_path / "shout", FILES)
    place = folder / "model.sig"
    done = command("sign", "key", folder, "--private_key", keys.private, "--signature", place)
    assert done.returncode == 0, done.stdout + done.stderr
    signed = {**FILES, "model.sig": place.read_bytes()}
    bundle = place.read_text()
    assert judge(keep(signed), bundle, [keys.public])[:2] == ("verified", "ours.pub")
    other = Keys(tmp_path, "theirs")
    assert judge(keep(signed), bundle, [other.public])[0] == "unknown_key"
    assert judge(keep(signed), bundle, [other.public, keys.public])[:2] == ("verified", "ours.pub")
    assert judge(keep(signed), bundle, [])[0] == "unchecked"


def test_a_file_that_was_signed_alone_is_that_file(
    tmp_path: Path, keys: Keys, keep: Callable[[dict[str, bytes]], Manifest]
) -> None:
    files = {"model.py": FILES["model.py"]}
    folder = lay(tmp_path / "one", files)
    done = command(
        "sign",
        "key",
        folder / "model.py",
        "--private_key",
        keys.private,
        "--signature",
        tmp_path / "one.sig",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert judge(keep(files), (tmp_path / "one.sig").read_text(), [keys.public])[0] == "verified"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {"model.py": b"def predict(): ..."},
            "the file 'model.py' is another than the one that was signed",
        ),
        ({"extra.py": b""}, "the file 'extra.py' is not among those that were signed"),
        ({"data/words.txt": None}, "the file 'data/words.txt' was signed and is missing"),
    ],
)
def test_other_files_are_wrong(
    keys: Keys, keep: Callable[[dict[str, bytes]], Manifest], change: dict[str, bytes | None], why: str
) -> None:
    bundle = sign(keep(FILES), "shout", keys.private)
    changed = {path: data for path, data in {**FILES, **change}.items() if data is not None}
    verdict, _, told = judge(keep(changed), bundle, [keys.public])
    assert verdict == "wrong"
    assert why in told


def test_a_signature_that_was_changed_is_not_by_the_key(
    keys: Keys, keep: Callable[[dict[str, bytes]], Manifest]
) -> None:
    """Somebody signs other files with another key, and puts our key's hint on it; or swaps what is signed."""
    import base64
    import json

    manifest, changed = keep(FILES), keep({**FILES, "model.py": b"def predict(): ..."})
    held = json.loads(sign(manifest, "shout", keys.private))
    statement = json.loads(base64.b64decode(held["dsseEnvelope"]["payload"]))
    for each in statement["predicate"]["resources"]:
        if each["name"] == "model.py":
            each["digest"] = next(file.sha256 for file in changed.files if file.path == "model.py")
    held["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    assert judge(changed, json.dumps(held), [keys.public])[0] == "unknown_key"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"dsseEnvelope": {"payload": "e30="}}', '{"dsseEnvelope": 1}']
)
def test_rubbish_is_wrong_and_breaks_nothing(
    text: str, keys: Keys, keep: Callable[[dict[str, bytes]], Manifest]
) -> None:
    assert judge(keep(FILES), text, [keys.public])[0] == "wrong"


def test_required_takes_signed_models_alone(
    tmp_path: Path,
    keys: Keys,
    database: Database,
    blobs: BlobStore,
    keep: Callable[[dict[str, bytes]], Manifest],
) -> None:
    versions, kept = Versions(database), Signatures(database)
    required = Signing("required", [keys.public], kept)

    def add(files: dict[str, bytes]) -> int:
        return register(blobs, versions, "shout", keep(files), trusted=False, signing=required)[0].number

    with pytest.raises(RejectedContent, match="not signed") as caught:
        add(FILES)
    assert caught.value.field == "model.sig"
    theirs = sign(keep(FILES), "shout", Keys(tmp_path, "theirs").private)
    with pytest.raises(RejectedContent, match=r"none of the keys ours\.pub"):
        add({**FILES, "model.sig": theirs.encode()})
    of_others = sign(keep({"model.py": b"x"}), "shout", keys.private)
    with pytest.raises(RejectedContent, match="not among those that were signed"):
        add({**FILES, "model.sig": of_others.encode()})
    assert versions.models() == []
    number = add({**FILES, "model.sig": sign(keep(FILES), "shout", keys.private).encode()})
    (found,) = required.signatures(versions.get("shout", number))
    assert (found.verdict, found.key, found.place) == ("verified", "ours.pub", "model.sig")
    assert required.require(versions.get("shout", number)) == []


def test_a_signature_can_come_beside_the_files_and_is_needed_once(
    tmp_path: Path,
    keys: Keys,
    database: Database,
    blobs: BlobStore,
    keep: Callable[[dict[str, bytes]], Manifest],
) -> None:
    versions, kept = Versions(database), Signatures(database)
    required = Signing("required", [keys.public], kept)
    manifest = keep(FILES)

    def add(bundle: str | None) -> tuple[int, bool]:
        version, new = register(
            blobs, versions, "shout", manifest, trusted=False, signing=required, bundle=bundle
        )
        return version.number, new

    with pytest.raises(RejectedContent, match=r"models push PATH --sign private\.pem"):
        add(None)
    with pytest.raises(RejectedContent, match=r"none of the keys ours\.pub"):
        add(sign(manifest, "shout", Keys(tmp_path, "theirs").private))
    for wrong in ("{}", sign(keep({"model.py": b"x"}), "shout", keys.private)):
        with pytest.raises(RejectedContent, match="no signature of these files"):
            add(wrong)
    assert versions.models() == []
    bundle = signing.signer(keys.private)(manifest, "shout")
    assert add(bundle) == (1, True)
    (found,) = required.signatures(versions.get("shout", 1))
    assert (found.verdict, found.key, found.place) == ("verified", "ours.pub", "")
    assert required.require(versions.get("shout", 1)) == []
    # The same files again are the version that was signed, whoever sends them.
    assert add(None) == (1, False)
    assert add(bundle) == (1, False)
    # But for a key that does not count any more.
    required = Signing("required", [Keys(tmp_path, "new").public], kept)
    with pytest.raises(RejectedContent, match=r"none of the keys new\.pub"):
        add(None)


def test_a_signature_of_other_files_is_refused_whatever_the_policy(
    keys: Keys, database: Database, blobs: BlobStore, keep: Callable[[dict[str, bytes]], Manifest]
) -> None:
    versions = Versions(database)
    off = Signing("off", [], Signatures(database))
    other = sign(keep({"model.py": b"x"}), "shout", keys.private)
    with pytest.raises(RejectedContent, match="no signature of these files"):
        register(blobs, versions, "shout", keep(FILES), trusted=False, signing=off, bundle=other)
    assert versions.models() == []


def test_a_key_that_signs_nothing_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no private key at"):
        signing.signer(tmp_path / "nowhere.pem")
    (tmp_path / "text.pem").write_text("no key")
    with pytest.raises(InvalidInput, match="no PEM of one"):
        signing.signer(tmp_path / "text.pem")
    text = Keys(tmp_path, "ours").private.read_text()
    with pytest.raises(InvalidInput, match="not the key itself") as caught:
        signing.signer(text)
    assert text.splitlines()[1] not in caught.value.message
    write(ed25519.Ed25519PrivateKey.generate(), tmp_path / "ed.pem", tmp_path / "ed.pub")
    with pytest.raises(InvalidInput, match="one of Ed25519, and the curves are P-256"):
        signing.signer(tmp_path / "ed.pem")
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(InvalidInput, match=r"protected by a password.*-out unprotected\.pem"):
        signing.signer(locked)


def test_a_version_of_before_the_policy_can_be_signed_later(
    keys: Keys, database: Database, blobs: BlobStore, keep: Callable[[dict[str, bytes]], Manifest]
) -> None:
    versions, kept = Versions(database), Signatures(database)
    version, _ = register(
        blobs, versions, "shout", keep(FILES), trusted=False, signing=Signing("off", [], kept)
    )
    required = Signing("required", [keys.public], kept)
    with pytest.raises(RejectedContent, match=r"not signed.*modelyard models sign shout/1 --key"):
        required.require(version)
    with pytest.raises(RejectedContent, match="no signature of shout/1"):
        required.add(version, sign(keep({"model.py": b"x"}), "shout", keys.private), who="me")
    added = required.add(version, sign(version.manifest, "shout", keys.private), who="me")
    assert (added.verdict, added.who) == ("verified", "me")
    assert required.require(version) == []


def test_told_takes_everything_and_says_what_is_wrong(
    tmp_path: Path,
    keys: Keys,
    database: Database,
    blobs: BlobStore,
    keep: Callable[[dict[str, bytes]], Manifest],
) -> None:
    versions, told = Versions(database), Signing("told", [keys.public], Signatures(database))
    theirs = sign(keep(FILES), "m", Keys(tmp_path, "theirs").private).encode()
    for files, said in (
        (FILES, "not signed"),
        ({**FILES, "model.sig": theirs}, "none of the keys"),
        ({**FILES, "model.sig": b"rubbish"}, "not a signature"),
    ):
        version, _ = register(blobs, versions, "m", keep(files), trusted=False, signing=told)
        (line,) = told.require(version)
        assert said in line


def test_keys_that_are_none_are_told_at_the_start(
    tmp_path: Path,
    keys: Keys,
    database: Database,
    keep: Callable[[dict[str, bytes]], Manifest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Signatures(database)
    write(ed25519.Ed25519PrivateKey.generate(), tmp_path / "ed.pem", tmp_path / "ed.pub")
    for policy, places, why in (
        ("required", [], "names no public key"),
        ("told", [tmp_path / "gone.pub"], "no public key at"),
        ("required", [keys.private], "no public key that verifies"),
        ("told", [tmp_path / "ed.pub"], "no public key that verifies"),
    ):
        with pytest.raises(InvalidInput, match=why) as caught:
            Signing(policy, places, kept)
        assert caught.value.field in ("signature_keys", "key")
    for key in (keys.public, tmp_path / "ed.pem", tmp_path / "gone.pem"):
        with pytest.raises(InvalidInput, match="no private key that signs"):
            sign(keep(FILES), "m", key)
    monkeypatch.setattr(signing, "find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match=r"'\.\[signing\]'"):
        Signing("required", [keys.public], kept)
    Signing("told", [keys.public], kept)


def test_without_the_library_a_signature_is_unchecked_and_none_is_made(
    keys: Keys, keep: Callable[[dict[str, bytes]], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = sign(keep(FILES), "shout", keys.private)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    verdict, key, why = judge(keep(FILES), bundle, [keys.public])
    assert (verdict, key) == ("unchecked", None)
    assert "'.[signing]'" in why
    for call in (lambda: sign(keep(FILES), "shout", keys.private), lambda: signing.check_key(keys.public)):
        with pytest.raises(Unavailable, match=r"pip install '\.\[signing\]'"):
            call()


def test_the_same_signature_twice_is_one(
    keys: Keys, database: Database, blobs: BlobStore, keep: Callable[[dict[str, bytes]], Manifest]
) -> None:
    told = Signing("told", [keys.public], Signatures(database))
    version, _ = register(blobs, Versions(database), "shout", keep(FILES), trusted=False, signing=told)
    first, second = (sign(version.manifest, "shout", keys.private) for _ in range(2))
    added = [told.add(version, bundle, who="me").digest for bundle in (first, second, first)]
    assert added[0] == added[2] != added[1]
    assert len(told.signatures(version)) == 2
