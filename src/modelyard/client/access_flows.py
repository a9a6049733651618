"""What both clients do about projects and API keys, step by step."""

from collections.abc import Sequence
from urllib.parse import urlencode

from modelyard.client.answers import KeyMade, Me, ModelMoved, decode
from modelyard.client.flows import Session, part
from modelyard.client.steps import Flow
from modelyard.core.access import ApiKey, Project, Role
from modelyard.core.audit import AuditEntry
from modelyard.core.names import check_name
from modelyard.core.reference import parse_model


def me(session: Session) -> Flow[Me]:
    return (yield from session.ask(Me, "/me"))


def audit(session: Session, about: str | None, limit: int) -> Flow[list[AuditEntry]]:
    asked = {"limit": limit} if about is None else {"limit": limit, "about": about}
    return (yield from session.ask(list[AuditEntry], f"/audit?{urlencode(asked)}"))


def projects(session: Session) -> Flow[list[Project]]:
    return (yield from session.ask(list[Project], "/projects"))


def project(session: Session, name: str) -> Flow[Project]:
    return (yield from session.ask(Project, f"/projects/{part(name)}"))


def create_project(session: Session, name: str, because: str) -> Flow[Project]:
    body = {"name": check_name(name), "because": because}
    return decode((yield from session.api("POST", "/projects", body)).body, Project)


def delete_project(session: Session, name: str, because: str) -> Flow[None]:
    yield from session.api("DELETE", f"/projects/{part(name)}?{urlencode({'because': because})}")


def move_model(session: Session, model: str, project: str, because: str) -> Flow[ModelMoved]:
    body = {"project": check_name(project, field="project"), "because": because}
    reply = yield from session.api("PUT", f"/models/{part(parse_model(model))}/project", body)
    return decode(reply.body, ModelMoved)


def keys(session: Session) -> Flow[list[ApiKey]]:
    return (yield from session.ask(list[ApiKey], "/keys"))


def key(session: Session, named: str) -> Flow[ApiKey]:
    return (yield from session.ask(ApiKey, f"/keys/{part(named)}"))


def create_key(
    session: Session,
    name: str,
    project: str | None,
    role: Role | None,
    endpoints: Sequence[str],
    expires_in: float | None,
    admin: bool,
) -> Flow[KeyMade]:
    body = {
        "name": check_name(name),
        "project": None if project is None else check_name(project, field="project"),
        "role": role,
        "endpoints": [check_name(each, field="endpoints") for each in endpoints],
        "expires_in": expires_in,
        "admin": admin,
    }
    return decode((yield from session.api("POST", "/keys", body)).body, KeyMade)


def revoke_key(session: Session, named: str, because: str) -> Flow[ApiKey]:
    reply = yield from session.api("POST", f"/keys/{part(named)}/revoke", {"because": because})
    return decode(reply.body, ApiKey)


def rotate_key(session: Session, named: str, expires_in: float | None) -> Flow[KeyMade]:
    reply = yield from session.api("POST", f"/keys/{part(named)}/rotate", {"expires_in": expires_in})
    return decode(reply.body, KeyMade)
