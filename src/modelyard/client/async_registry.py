"""The registry as the client that is awaited has it: ``client.registry``."""

from collections.abc import Mapping
from typing import Any

from modelyard.client import registry_flows as flows
from modelyard.client.answers import AliasInfo
from modelyard.client.async_transport import AsyncTransport
from modelyard.client.flows import Session
from modelyard.client.registry_flows import Named
from modelyard.core.card import CardAnswer
from modelyard.core.comparison import Comparison
from modelyard.core.history import AliasMove, LineageNode
from modelyard.core.listing import Page, Wanted
from modelyard.core.model import Relation, Version


class AsyncRegistry:
    """Versions of models: found, named, described, compared, ended. A version is named ``fraud`` (its latest),
    ``fraud/3`` or ``fraud@production``. Methods raise the errors of ``modelyard.core.errors``."""

    def __init__(self, session: Session, transport: AsyncTransport) -> None:
        self._session = session
        self._transport = transport

    async def search(
        self, wanted: Wanted | None = None, *, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """A page of the versions that are all of ``wanted``; its ``next`` is the ``cursor`` of the following one. A page
        begins behind the last version of the one before, whatever was added or deleted since."""
        return await self._transport.run(flows.search(self._session, wanted or Wanted(), limit, cursor))

    async def find(self, named: Named) -> Version:
        """One version: ``fraud`` (the latest), ``fraud/3``, ``fraud@production``. Raises NotFound."""
        return await self._transport.run(flows.find(self._session, named))

    async def aliases(self, model: str) -> dict[str, int]:
        """The numbers that the aliases of a model point at. Raises NotFound."""
        return await self._transport.run(flows.aliases(self._session, model))

    async def alias(
        self, model: str, alias: str, version: int | str, *, because: str = "", expected: int | None = None
    ) -> AliasInfo:
        """Point an alias at a version (a number, another alias, ``latest``). With ``expected`` only while it points at
        that number (0: while there is none); raises Conflict, saying who moved it where, when it does not."""
        return await self._transport.run(
            flows.move_alias(self._session, model, alias, version, because, expected)
        )

    async def remove_alias(
        self, model: str, alias: str, *, because: str = "", expected: int | None = None
    ) -> AliasInfo:
        """Take an alias away; its history stays. Raises NotFound, Conflict."""
        return await self._transport.run(flows.remove_alias(self._session, model, alias, because, expected))

    async def history(
        self,
        model: str,
        alias: str | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
    ) -> list[AliasMove]:
        """Every move of a model's aliases, the oldest first: with ``since`` (seconds since the epoch) those that held then
        and later ones, with ``until`` those made by then; with both the same, what held at that moment."""
        return await self._transport.run(flows.history(self._session, model, alias, since, until))

    async def card(self, named: Named) -> CardAnswer:
        """The card of a model as it reads for one version. Raises NotFound."""
        return await self._transport.run(flows.card(self._session, named))

    async def change_card(self, model: str, *, because: str = "", **given: Any) -> CardAnswer:
        """Change what is given of :class:`modelyard.core.card.Card`; the rest stays. Raises InvalidInput naming the field."""
        return await self._transport.run(flows.change_card(self._session, model, given, because))

    async def lineage(self, named: Named) -> list[LineageNode]:
        """The tree of versions made from each other that this one stands in, the root first. Raises NotFound."""
        return await self._transport.run(flows.lineage(self._session, named))

    async def set_parent(
        self,
        named: Named,
        parent: Named,
        relation: Relation,
        *,
        tradeoff: Mapping[str, Any] | None = None,
        because: str = "",
    ) -> Version:
        """Say what a version was made from, how, and what that changed (figures of both by name). Raises Conflict for a
        circle."""
        return await self._transport.run(
            flows.set_parent(self._session, named, parent, relation, tradeoff, because)
        )

    async def remove_parent(self, named: Named) -> Version:
        """Forget what a version was made from."""
        return await self._transport.run(flows.remove_parent(self._session, named))

    async def compare(self, before: Named, after: Named, *, contents: bool = False) -> Comparison:
        """What differs between two versions, also of two models: signature, facts, files, tensors. With ``contents`` the
        bytes of tensors are compared, not only types and shapes."""
        return await self._transport.run(flows.compare(self._session, before, after, contents))

    async def deprecate(self, named: Named, *, because: str) -> Version:
        """Say that nobody should begin to use a version."""
        return await self._transport.run(flows.deprecate(self._session, named, because))

    async def undeprecate(self, named: Named) -> Version:
        """Take that back."""
        return await self._transport.run(flows.undeprecate(self._session, named))

    async def delete(self, named: Named, *, because: str = "") -> Version:
        """Delete a version; ``deleted.until`` says how long it can be restored. Raises Conflict that names what uses it."""
        return await self._transport.run(flows.delete_version(self._session, named, because))

    async def restore(self, named: Named, *, because: str = "") -> Version:
        """Take a deletion back. Raises NotFound when its time is over."""
        return await self._transport.run(flows.restore(self._session, named, because))
