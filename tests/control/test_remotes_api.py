"""The API of remotes: what is set is told, what no node would take is refused and kept out."""

import pytest

from modelyard.client.answers import RemotesInfo


def test_remotes_are_set_told_and_taken_away(client) -> None:
    body = {
        "remotes": [{"url": "http://127.0.0.1:1", "model": "m"}],
        "weight": 0.25,
        "retry": {"hedge": 0.5},
    }
    put = client.put("/api/v1/remotes/far", json=body)
    assert put.status_code == 200, put.text
    assert put.json()["remotes"][0] | {"kind": "v2", "weight": 1.0} == put.json()["remotes"][0]
    added = client.post(
        "/api/v1/remotes/far", json={"url": "https://a.example", "model": "m", "kind": "openai"}
    )
    assert [each["url"] for each in added.json()["remotes"]] == ["http://127.0.0.1:1", "https://a.example"]
    told = client.get("/api/v1/remotes/far").json()
    assert told == added.json() | {"url": told["url"], "status": [], "traffic": None}
    assert told["url"].endswith("/models/far")
    assert client.get("/api/v1/remotes").json() == [told]
    assert client.get("/api/v1/endpoints").json() == []  # nothing is deployed
    changed = client.patch("/api/v1/remotes/far", json={"retry": {"attempts": 2}}).json()
    assert changed == added.json() | {"retry": {"attempts": 2, "budget": 0.2, "hedge": 0.5}}
    changed = client.patch("/api/v1/remotes/far", json={"weight": 0, "retry": {"hedge": None}}).json()
    assert (changed["weight"], changed["retry"]["attempts"], changed["retry"]["hedge"]) == (0.0, 2, None)
    gone = client.delete("/api/v1/remotes/far", params={"url": "http://127.0.0.1:1"})
    assert gone.status_code == 204
    assert len(client.get("/api/v1/remotes/far").json()["remotes"]) == 1
    assert client.delete("/api/v1/remotes/far").status_code == 204
    for call in (client.get, client.delete, lambda path: client.patch(path, json={})):
        answer = call("/api/v1/remotes/far")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("remote", "field"),
    [
        ({"url": "ftp://x", "model": "m"}, "remotes[0].url"),
        ({"url": "http://user:word@x", "model": "m"}, "remotes[0].url"),
        ({"url": "http://x"}, "remotes[0].model"),
        ({"url": "http://x", "model": "m", "kind": "grpc"}, "remotes[0].kind"),
        ({"url": "http://x", "model": "m", "weight": -1}, "remotes[0].weight"),
        ({"url": "http://x", "model": "m", "key": "sk-secret"}, "remotes[0].key"),
        ({"url": "http://x", "model": "m", "key_variable": "sk-secret"}, "remotes[0].key_variable"),
    ],
)  # fmt: skip
def test_a_remote_that_cannot_be_is_refused(client, remote: dict[str, object], field: str) -> None:
    answer = client.put("/api/v1/remotes/far", json={"remotes": [remote]})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == "invalid_input"
    assert answer.json()["field"].replace(".[", "[") in (field, f"body.{field}")
    assert "sk-secret" not in answer.json()["error"] or field.endswith("key_variable")
    assert client.get("/api/v1/remotes").json() == []


def test_a_model_without_its_url_takes_nothing_away(client) -> None:
    client.post("/api/v1/remotes/far", json={"url": "http://x", "model": "m"})
    answer = client.delete("/api/v1/remotes/far", params={"model": "another"})
    assert (answer.status_code, answer.json()["field"]) == (400, "url")
    assert len(client.get("/api/v1/remotes/far").json()["remotes"]) == 1


def test_a_client_that_reads_nouns_reads_the_answer(client) -> None:
    import msgspec

    client.post("/api/v1/remotes/far", json={"url": "unix:/run/node.sock", "model": "m"})
    route = msgspec.json.decode(client.get("/api/v1/remotes/far").content, type=RemotesInfo)
    assert route.remotes[0].url == "unix:/run/node.sock"
