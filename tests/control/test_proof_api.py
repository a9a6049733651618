"""Provenance, file signatures and bills of materials over HTTP."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.testclient import TestClient

from modelyard.control.app import create_app
from modelyard.core.errors import InvalidInput
from modelyard.core.manifest import FileEntry, Manifest
from modelyard.core.settings import Settings
from modelyard.registry.signing import sign
from support.bill import problem
from support.node import wait_until

FILES = {
    "model.py": b"def predict(text: str) -> str:\n    return text.upper()\n",
    "requirements.txt": b"msgspec\n",
}
OF_GIT = {
    "source": {
        "kind": "added",
        "name": "shout",
        "of": {"kind": "git", "name": "https://me:secret@host/a/b.git", "revision": "c0ffee"},
    },
    "user": "alice@laptop",
    "client": "modelyard 9",
}


def test_each_source_of_the_same_bytes_is_kept_without_secrets(client: TestClient, upload) -> None:
    for number, provenance in enumerate(({}, {"provenance": OF_GIT}, {"provenance": OF_GIT})):
        body = {"upload": upload(client, FILES), **provenance}
        answer = client.post("/api/v1/models/shout/versions", json=body, headers={"user-agent": "curl/8"})
        assert answer.status_code == (201 if number == 0 else 200), answer.text
    told = client.get("/api/v1/models/shout/versions/1/provenance").json()
    version = client.get("/api/v1/models/shout/versions/1").json()
    assert [each["source"]["kind"] for each in told] == ["upload", "added"]
    assert told[1]["source"]["of"]["name"] == "https://host/a/b.git"
    assert (told[0]["client"], told[0]["user"]) == ("curl/8", "")
    assert (told[1]["client"], told[1]["user"], told[1]["uploader"]) == (
        "modelyard 9", "alice@laptop", "someone on this machine",
    )  # fmt: skip
    assert {each["digest"] for each in told} == {version["digest"]}
    assert told[1]["last"] > told[1]["first"]
    assert "secret" not in json.dumps(told)


def test_a_deployment_keeps_its_source_and_no_job_keeps_a_secret(client: TestClient, upload) -> None:
    body = {"endpoint": "shout", "upload": upload(client, FILES), "provenance": OF_GIT}
    assert client.post("/api/v1/deployments", json=body).status_code == 202
    assert "secret" not in client.get("/api/v1/jobs").text


def test_a_platform_that_asks_why_refuses_trust_without_a_reason_at_once(
    settings: Settings, upload
) -> None:
    asking = Settings(home=settings.home, control_port=0, database=settings.database, trust_reason=True)
    with TestClient(create_app(asking), base_url="http://localhost") as client:
        told = {"upload": upload(client, FILES), "trust_pickle": True}
        for path, body in (
            ("models/shout/versions", told),
            ("deployments", told | {"endpoint": "shout"}),
        ):
            refused = client.post(f"/api/v1/{path}", json=body)
            assert (refused.status_code, refused.json()["field"]) == (400, "because"), refused.text
        assert client.get("/api/v1/jobs").json() == []
        taken = client.post("/api/v1/models/shout/versions", json=told | {"because": "I wrote it"})
        assert taken.status_code == 201, taken.text


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "moon"},
        {"kind": "git", "where": "x"},
        {"kind": "git", "name": "x" * 3000},
        {"kind": "url", "sha256": "x"},
        {"kind": "added", "of": {"kind": "added", "of": {"kind": "added", "of": {"kind": "added", "of": {"kind": "path"}}}}},
    ],
)  # fmt: skip
def test_a_source_that_is_none_is_invalid(client: TestClient, upload, source: dict) -> None:
    body = {"upload": upload(client, FILES), "provenance": {"source": source}}
    assert client.post("/api/v1/models/shout/versions", json=body).status_code == 400
    assert client.get("/api/v1/models").json() == []


def test_a_signature_is_kept_and_one_of_other_files_is_not(
    client: TestClient, upload, tmp_path: Path
) -> None:
    made = client.post("/api/v1/models/shout/versions", json={"upload": upload(client, FILES)}).json()
    private, _ = keys(tmp_path)
    entries = tuple(FileEntry(**each) for each in made["manifest"]["files"])
    path = "/api/v1/models/shout/versions/1/signatures"
    kept = client.post(path, json={"bundle": sign(Manifest(files=entries), "shout", private)})
    assert (kept.status_code, kept.json()["verdict"]) == (201, "unchecked")
    others = sign(Manifest(files=entries[:1]), "shout", private)
    assert client.post(path, json={"bundle": others}).status_code == 422
    assert client.post(path, json={"bundle": "{}"}).status_code == 422
    assert (
        client.post("/api/v1/models/shout/versions/2/signatures", json={"bundle": others}).status_code
        == 404
    )
    assert len(client.get(path).json()) == 1


def test_a_platform_that_requires_signatures_refuses_others(
    settings: Settings, upload, tmp_path: Path
) -> None:
    private, public = keys(tmp_path)
    strict = Settings(home=settings.home, control_port=0, signatures="required", signature_keys=str(public))
    with TestClient(create_app(strict), base_url="http://localhost") as client:
        refused = client.post("/api/v1/models/shout/versions", json={"upload": upload(client, FILES)})
        assert refused.status_code == 422
        assert "not signed" in refused.json()["error"]
        begun = client.get(f"/api/v1/uploads/{upload(client, FILES)}").json()
        entries = tuple(FileEntry(**each) for each in begun["manifest"]["files"])
        bundle = sign(Manifest(files=entries), "shout", private)
        signed = {**FILES, "model.sig": bundle.encode()}
        taken = client.post("/api/v1/models/shout/versions", json={"upload": upload(client, signed)})
        assert taken.status_code == 201, taken.text
        (found,) = client.get("/api/v1/models/shout/versions/1/signatures").json()
        assert (found["verdict"], found["key"], found["place"]) == ("verified", "public.pem", "model.sig")
        told = {"upload": upload(client, FILES), "bundle": bundle}
        beside = client.post("/api/v1/models/louder/versions", json=told)
        assert beside.status_code == 201, beside.text
        again = client.post("/api/v1/models/louder/versions", json={"upload": upload(client, FILES)})
        assert again.status_code == 200, again.text
        (found,) = client.get("/api/v1/models/louder/versions/1/signatures").json()
        assert (found["verdict"], found["place"]) == ("verified", "")
        deployed = client.post(
            "/api/v1/deployments",
            json={"endpoint": "loudest", "upload": upload(client, FILES), "bundle": bundle},
        )
        assert deployed.status_code == 202, deployed.text
        path = "/api/v1/models/loudest/versions/1/signatures"
        wait_until(
            lambda: client.get(path).status_code == 200 and client.get(path).json(), what="its version"
        )
        assert [each["verdict"] for each in client.get(path).json()] == ["verified"]
    with pytest.raises(InvalidInput, match="signature_keys"):
        create_app(Settings(home=settings.home, control_port=0, signatures="required"))


def test_a_version_has_a_valid_bill_of_materials(client: TestClient, upload) -> None:
    client.post("/api/v1/models/shout/versions", json={"upload": upload(client, FILES)})
    answer = client.get("/api/v1/models/shout/versions/1/sbom")
    assert answer.headers["content-type"].startswith("application/vnd.cyclonedx+json")
    assert problem(answer.text) is None
    assert {each["name"] for each in answer.json()["components"]} == set(FILES)
    assert client.get("/api/v1/models/shout/versions/2/sbom").status_code == 404
    assert client.get(f"/api/v1/environments/{'a' * 32}/sbom").status_code == 404


def keys(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "private.pem", folder / "public.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public
