"""Projects and API keys as the client that blocks has them: ``client.access``."""

from collections.abc import Sequence

from modelyard.client import access_flows as flows
from modelyard.client.answers import KeyMade, Me, ModelMoved
from modelyard.client.flows import Session
from modelyard.client.transport import Transport
from modelyard.core.access import ApiKey, Project, Role
from modelyard.core.audit import AuditEntry


class Access:
    """Who may do what: projects, and the keys of people and programs. Methods raise the errors of
    ``modelyard.core.errors``."""

    def __init__(self, session: Session, transport: Transport) -> None:
        self._session = session
        self._transport = transport

    def me(self) -> Me:
        """Who this client is, by the key that it sends."""
        return self._transport.run(flows.me(self._session))

    def audit(self, about: str | None = None, *, limit: int = 100) -> list[AuditEntry]:
        """Who changed what, when and why, the newest first, at most 1,000; ``about``: a model with its versions and
        aliases (``fraud``), one of them (``fraud/3``), an endpoint, a key, a project. For admins."""
        return self._transport.run(flows.audit(self._session, about, limit))

    def projects(self) -> list[Project]:
        """The projects that this client sees, and how much is in each."""
        return self._transport.run(flows.projects(self._session))

    def project(self, name: str) -> Project:
        """One project. Raises NotFound."""
        return self._transport.run(flows.project(self._session, name))

    def create_project(self, name: str, *, because: str = "") -> Project:
        """Raises Conflict when there is one of this name."""
        return self._transport.run(flows.create_project(self._session, name, because))

    def delete_project(self, name: str, *, because: str = "") -> None:
        """Delete an empty project. Raises NotFound, and Conflict that says what is in it."""
        self._transport.run(flows.delete_project(self._session, name, because))

    def move_model(self, model: str, project: str, *, because: str = "") -> ModelMoved:
        """Move a model, with the endpoints that it is deployed to, to another project. Raises NotFound, and Conflict
        while it is bound to what would stay behind."""
        return self._transport.run(flows.move_model(self._session, model, project, because))

    def keys(self) -> list[ApiKey]:
        """All keys that this client may see, also those that have ended; never their secrets."""
        return self._transport.run(flows.keys(self._session))

    def key(self, named: str) -> ApiKey:
        """One key, by its id or its name. Raises NotFound."""
        return self._transport.run(flows.key(self._session, named))

    def create_key(
        self,
        name: str,
        *,
        project: str | None = None,
        role: Role | None = None,
        endpoints: Sequence[str] = (),
        expires_in: float | None = None,
        admin: bool = False,
    ) -> KeyMade:
        """A new key, whose ``secret`` is told this once. ``role`` is viewer where none is said, *caller* for one that
        predicts and nothing else (on ``endpoints`` alone, where they are named); ``expires_in`` is seconds; with
        ``admin`` it may everything. Raises Conflict for a name that a key has or had."""
        return self._transport.run(
            flows.create_key(self._session, name, project, role, endpoints, expires_in, admin)
        )

    def revoke_key(self, named: str, *, because: str = "") -> ApiKey:
        """End a key. Raises NotFound."""
        return self._transport.run(flows.revoke_key(self._session, named, because))

    def rotate_key(self, named: str, *, expires_in: float | None = None) -> KeyMade:
        """Give a key another ``secret``; the former one opens nothing any more. Raises NotFound, Conflict."""
        return self._transport.run(flows.rotate_key(self._session, named, expires_in))
