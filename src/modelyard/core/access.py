"""Who may do what: projects, roles, API keys, and who a request is from."""

from typing import Final, Literal

from modelyard.core.struct import Noun

DEFAULT_PROJECT: Final = "default"  # it is always there, and everything belongs to it that names no other
Role = Literal["caller", "viewer", "operator", "admin"]
ROLES: Final[tuple[Role, ...]] = (
    "caller",
    "viewer",
    "operator",
    "admin",
)  # each may what those before it may


class Project(Noun):
    """A named group of models, endpoints, remotes, uploads and jobs. ``created`` and ``who`` are empty of the one that
    is always there."""

    name: str
    created: float | None = None
    who: str = ""
    models: int = 0
    endpoints: int = 0
    keys: int = 0


class ApiKey(Noun):
    """What is known of an API key, which is all but its secret. ``project`` is None for one that may everything.

    A *caller* may predict, on ``endpoints`` alone where they are named. Times are seconds since the epoch; ``used`` is
    when it last came to a control plane, to a minute.
    """

    id: str
    name: str
    project: str | None
    role: Role
    created: float
    who: str
    endpoints: tuple[str, ...] = ()
    expires: float | None = None
    used: float | None = None
    revoked: float | None = None

    def over(self, now: float) -> bool:
        """Whether it opens nothing any more."""
        return self.revoked is not None or (self.expires is not None and self.expires <= now)


class Principal(Noun):
    """Who a request is from. ``project`` is the one that he sees (None: all), ``installation`` that he may everything;
    ``name`` is None for who has shown no key of his own (the home's key, this machine)."""

    name: str | None = None
    role: Role = "admin"
    project: str | None = None
    installation: bool = True
    endpoints: tuple[str, ...] = ()

    def may(self, role: Role) -> bool:
        """Whether his role is ``role`` or more."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def calls(self, endpoint: str) -> bool:
        """Whether an endpoint of the project is one that his key is for."""
        return not self.endpoints or endpoint in self.endpoints

    @property
    def into(self) -> str:
        """The project that what he makes belongs to."""
        return self.project or DEFAULT_PROJECT

    def sees(self, project: str | None) -> bool:
        """Whether what belongs to ``project`` is there for him."""
        return self.project is None or project == self.project


EVERYBODY: Final = Principal()  # who sees all: the platform itself
