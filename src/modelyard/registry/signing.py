"""File signatures made and verified, by the library model-signing (sigstore's) with a pair of keys, offline.

What is signed is the list of a version's files with their SHA-256, which the platform has checked while the bytes
came; so neither side reads the files again. A signature made here verifies a folder of the same files with the
library's own command, and the other way round. The library is in the extra ``signing``.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from modelyard.core.errors import InvalidInput, RejectedContent, Unavailable
from modelyard.core.manifest import FileEntry, Manifest, manifest_of
from modelyard.core.model import Version
from modelyard.core.signing import SIGNATURE_PATH, FileSignature, SignaturePolicy, Verdict
from modelyard.store.blobs import BlobStore
from modelyard.store.signatures import Signatures

LARGEST: Final = 16 * 1024 * 1024  # bytes of a bundle
# What the library's command leaves out of every signature, too.
LEFT_OUT: Final = (SIGNATURE_PATH, ".git", ".gitattributes", ".github", ".gitignore")
_MISSING: Final = (
    "File signatures are made and verified by the package model-signing, which is not installed here: pip install "
    "'.[signing]' in Modelyard's folder"
)

_UNSIGNED: Final = (
    "These files are not signed, and this platform takes signed models alone. Sign them as you send them: "
    "modelyard models push PATH --sign private.pem (deploy has it, too), or modelyard.push(model, NAME, "
    f"sign='private.pem'); or put the signature beside them as {SIGNATURE_PATH}."
)


class Signing:
    """A platform's policy: ``keys`` are files of public keys (PEM) whose owners are trusted.

    Raises InvalidInput for a key that is none, and where signatures are required and could not be checked.
    """

    def __init__(self, policy: SignaturePolicy, keys: Sequence[Path], signatures: Signatures) -> None:
        self.policy: SignaturePolicy = policy
        self._keys = tuple(keys)
        self._signatures = signatures
        if policy == "off":
            return
        for key in self._keys:
            if not key.is_file():
                raise InvalidInput(f"There is no public key at {key}.", field="signature_keys")
        if policy == "required" and not self._keys:
            raise InvalidInput(
                "signatures = required, but signature_keys names no public key that could verify one.",
                field="signature_keys",
            )
        if find_spec("model_signing") is None:
            if policy == "required":
                raise InvalidInput(f"signatures = required. {_MISSING}", field="signatures")
            return
        for key in self._keys:
            check_key(key)

    def look(
        self, blobs: BlobStore, manifest: Manifest, given: str | None = None, known: Version | None = None
    ) -> dict[str, str]:
        """The bundles that come with the files, by their paths among these (empty: ``given`` beside them): they are
        kept whatever the policy is today. ``known`` is the version that these files are already.

        Raises RejectedContent where one is required and none holds, not even one of ``known``; and for one that was
        given and is of other files.
        """
        bundles: dict[str, str] = {}
        there = next((file for file in manifest.files if file.path == SIGNATURE_PATH), None)
        if there is not None and there.size <= LARGEST:
            bundles[SIGNATURE_PATH] = blobs.files(manifest).read(SIGNATURE_PATH).decode("utf-8", "replace")
        if given is not None:
            _require_of(manifest, given, "these files")
            bundles[""] = given
        if self.policy == "required":
            kept = [] if known is None else self._signatures.list(known.model, known.number)
            judged = [judge(manifest, each, self._keys) for each in bundles.values()]
            judged += [judge(manifest, each.bundle, self._keys) for each in kept]
            if not judged:
                raise RejectedContent(_UNSIGNED, field=SIGNATURE_PATH)
            if not any(verdict == "verified" for verdict, _, _ in judged):
                raise RejectedContent(
                    f"The signature of these files is not accepted: {judged[0][2]} This platform takes signed models "
                    "alone.",
                    field=SIGNATURE_PATH,
                )
        return bundles

    def keep(self, version: Version, bundles: Mapping[str, str], *, who: str) -> None:
        """Keep what :meth:`look` found."""
        for place, bundle in bundles.items():
            self._signatures.add(version.model, version.number, bundle, place=place, who=who)

    def add(self, version: Version, bundle: str, *, who: str) -> FileSignature:
        """Keep a signature that was made later. Raises RejectedContent for one of other files, InvalidInput for
        what is none."""
        _require_of(version.manifest, bundle, f"{version.model}/{version.number}")
        self._signatures.add(version.model, version.number, bundle, who=who)
        digest = hashlib.sha256(bundle.encode()).hexdigest()
        return next(each for each in self.signatures(version) if each.digest == digest)

    def signatures(self, version: Version) -> list[FileSignature]:
        """All of a version, each with what the keys say of it now."""
        found: list[FileSignature] = []
        for each in self._signatures.list(version.model, version.number):
            verdict, key, why = judge(version.manifest, each.bundle, self._keys)
            found.append(msgspec.structs.replace(each, verdict=verdict, key=key, why=why))
        return found

    def require(self, version: Version) -> list[str]:
        """What is to be told of a version that is deployed. Raises RejectedContent where signatures are required
        and none of its own holds with the keys of today."""
        if self.policy == "off":
            return []
        found = self.signatures(version)
        if any(each.verdict == "verified" for each in found):
            return []
        if self.policy == "told":
            return [f"Its signature: {each.why}" for each in found] or [
                "Its files are not signed (signatures = told)."
            ]
        name = f"{version.model}/{version.number}"
        if not found:
            raise RejectedContent(
                f"{name} may not be deployed: it is not signed, and signatures are required. Sign it, with a key whose "
                f"public half is among signature_keys: modelyard models sign {name} --key private.pem",
                field="version",
            )
        raise RejectedContent(
            f"{name} may not be deployed, because signatures are required: {found[-1].why}", field="version"
        )


def sign(manifest: Manifest, name: str, key: Path) -> str:
    """The bundle (JSON) over the files of ``manifest`` by the private ``key`` (PEM, an elliptic curve of NIST, no
    password); ``name`` is what the signature calls the model. Raises InvalidInput for another key, Unavailable
    without the library."""
    library = _library()
    from model_signing._hashing.hashing import Digest

    wanted = [file for file in manifest.files if not _left_out(file.path, LEFT_OUT)]
    items = [
        library.manifest.FileManifestItem(
            path=file.path, digest=Digest("sha256", bytes.fromhex(file.sha256))
        )
        for file in wanted
    ]
    listed = library.manifest.Manifest(
        name, items, library.manifest._FileSerialization("sha256", False, LEFT_OUT)
    )
    try:
        signer = library.key.Signer(key)
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise InvalidInput(f"{key} {_why_no_key(key)}", field="key") from error
    return signer.sign(library.signing.Payload(listed)).bundle.to_json()


def _why_no_key(path: Path) -> str:
    """What is wrong with a file that no model can be signed with, as the rest of a sentence."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        found = load_pem_private_key(path.read_bytes(), None)
    except TypeError:
        return (
            "is protected by a password; models are signed by keys without one. Write it without, into another file: "
            f"openssl pkey -in {path} -out unprotected.pem"
        )
    except (ValueError, UnsupportedAlgorithm, OSError):
        return (
            "is no private key that signs models: it is no PEM of one. Make one: openssl ecparam -name prime256v1 "
            "-genkey -noout -out signing.pem"
        )
    kind = type(found).__name__.removesuffix("PrivateKey").strip("_") or "another"
    return (
        f"is no private key that signs models: it is one of {kind}, and the curves are P-256, P-384 and P-521. Make one: "
        "openssl ecparam -name prime256v1 -genkey -noout -out signing.pem"
    )


def signer(key: str | Path) -> Callable[[Manifest, str], str]:
    """What signs the files of a push by the private ``key``: ``client.push(path, sign=modelyard.signer("private.pem"))``.

    Raises, before anything is sent, InvalidInput for another key and Unavailable without the library.
    """
    path = Path(key)
    if "PRIVATE KEY" in str(key) or "\n" in str(
        key
    ):  # never told again: it would stand in logs and notebooks
        raise InvalidInput(
            "The path of a file with the private key is asked for, not the key itself.", field="key"
        )
    if not path.is_file():
        raise InvalidInput(f"There is no private key at {str(path)!r}.", field="key")
    probe = manifest_of([FileEntry(path="probe", size=0, sha256=hashlib.sha256().hexdigest())])
    sign(probe, "probe", path)
    return lambda manifest, name: sign(manifest, name, path)


def judge(manifest: Manifest, bundle: str, keys: Iterable[Path]) -> tuple[Verdict, str | None, str]:
    """What ``keys`` (files of public keys) say of ``bundle`` over the files of ``manifest``: the verdict, the name
    of the key that verified it, a sentence."""
    keys = tuple(keys)
    try:
        compare(manifest, statement_of(bundle))
    except ValueError as error:
        return "wrong", None, f"{error}"
    if not keys:
        return "unchecked", None, "there is no public key to verify it with (signature_keys)."
    try:
        _library()
    except Unavailable as error:
        return "unchecked", None, error.message
    for key in keys:
        if _verifies(manifest, bundle, key):
            return "verified", key.name, f"by the key {key.name}."
    return "unknown_key", None, f"it was made by none of the keys {', '.join(key.name for key in keys)}."


def check_key(key: Path) -> None:
    """Raises InvalidInput for what is no public key of a kind that verifies, Unavailable without the library."""
    try:
        _library().key.Verifier(key)
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise InvalidInput(
            f"{key} is no public key that verifies models ({str(error)[:200]}). Of a private one it is written by: "
            "openssl ec -in private.pem -pubout -out public.pem",
            field="key",
        ) from error


def statement_of(bundle: str) -> dict[str, Any]:
    """What a bundle states, unverified. Raises ValueError with a sentence for what is none."""
    try:
        held = json.loads(bundle)
        statement = json.loads(base64.b64decode(held["dsseEnvelope"]["payload"], validate=True))
        subject, predicate = statement["subject"], statement["predicate"]
        resources, serialization = predicate["resources"], predicate["serialization"]
        if not all(isinstance(each, list) for each in (subject, resources)) or len(subject) != 1:
            raise TypeError
        if not all(isinstance(each["name"], str) and isinstance(each["digest"], str) for each in resources):
            raise TypeError
        ignored = serialization.get("ignore_paths", [])
        if not isinstance(ignored, list) or not all(isinstance(each, str) for each in ignored):
            raise TypeError
    except (ValueError, binascii.Error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("it is not a signature as model-signing writes it since its version 1.") from error
    return cast("dict[str, Any]", statement)


def compare(manifest: Manifest, statement: dict[str, Any]) -> None:
    """Raises ValueError with a sentence unless the statement lists exactly the files of ``manifest``, but for what
    is always left out."""
    predicate = statement["predicate"]
    serialization = predicate["serialization"]
    if serialization.get("method") != "files" or serialization.get("hash_type") != "sha256":
        raise ValueError(
            f"it lists {str(serialization.get('method'))[:40]} by {str(serialization.get('hash_type'))[:40]}; sign whole "
            "files by SHA-256, which is the library's default."
        )
    signed = {each["name"]: each["digest"] for each in predicate["resources"]}
    files = {file.path: file.sha256 for file in manifest.files if not _left_out(file.path, LEFT_OUT)}
    if list(signed) == ["."] and len(files) == 1:  # a file that was signed alone
        signed = {next(iter(files)): signed["."]}
    for path in sorted(files.keys() | signed.keys()):
        if path not in signed:
            raise ValueError(f"the file {path!r} is not among those that were signed.")
        if path not in files:
            raise ValueError(f"the file {path[:200]!r} was signed and is missing.")
        if files[path] != signed[path]:
            raise ValueError(f"the file {path!r} is another than the one that was signed.")


def _verifies(manifest: Manifest, bundle: str, key: Path) -> bool:
    import tempfile

    from cryptography.exceptions import InvalidSignature

    library = _library()
    with tempfile.NamedTemporaryFile("w", suffix=".sig", encoding="utf-8") as file:
        file.write(bundle)
        file.flush()
        try:
            held = library.bundle.Signature.read(Path(file.name))
            verified = library.key.Verifier(key).verify(held)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, InvalidSignature):
            return False
    # What was verified, and not what was read beside it, is what has to be these files.
    statement = {
        "predicate": {
            "serialization": verified.serialization_type,
            "resources": [
                {"name": each.identifier, "digest": each.digest.digest_hex}
                for each in verified.resource_descriptors()
            ],
        }
    }
    try:
        compare(manifest, statement)
    except ValueError:
        return False
    return True


def _left_out(path: str, left_out: Iterable[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in left_out)


def _require_of(manifest: Manifest, bundle: str, what: str) -> None:
    """Raise unless ``bundle`` is a signature of just these files, by whatever key."""
    if len(bundle) > LARGEST:
        raise InvalidInput(f"A signature has at most {LARGEST} bytes.", field="bundle")
    try:
        compare(manifest, statement_of(bundle))
    except ValueError as error:
        raise RejectedContent(f"This is no signature of {what}: {error}", field="bundle") from error


class _Library(msgspec.Struct):
    manifest: Any
    signing: Any
    key: Any
    bundle: Any


def _library() -> _Library:
    try:
        from model_signing import manifest
        from model_signing._signing import sign_ec_key, sign_sigstore_pb, signing
    except ImportError as error:
        raise Unavailable(f"{_MISSING} ({error}).") from error
    return _Library(manifest, signing, sign_ec_key, sign_sigstore_pb)
