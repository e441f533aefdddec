"""The engine's dealings with registries. Synchronous and thread-safe; imported when a registry is first talked to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from sampan.errors import NotFound, SampanError
from sampan.images.references import Reference
from sampan.images.registry import endpoints
from sampan.images.registry.credentials import Credentials
from sampan.images.registry.download import Downloads
from sampan.images.registry.endpoints import Endpoint
from sampan.images.registry.failures import Unreachable, of_pull
from sampan.images.registry.loop import Leaving, Loop, stays
from sampan.images.registry.progress import Board, Message
from sampan.images.registry.pull import Pull, Store
from sampan.images.registry.repository import Repository
from sampan.images.registry.wishes import Wish
from sampan.types import Image

if TYPE_CHECKING:
    from sampan.config import RegistriesConfig

Tell = Callable[[Message], object]


def silent(message: Message) -> None:
    return


class Registries:
    """``tell`` is given Docker's progress messages. ``leaving`` registers what is called when the client goes away:
    then the work ends, and ``BrokenPipeError`` is raised."""

    def __init__(self, config: RegistriesConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._loop = Loop()
        self._downloads = Downloads(store.content, store.partials, config.downloads, config.patience)

    def pull(self, wish: Wish, tell: Tell = silent, leaving: Leaving = stays) -> list[Image]:
        """``NotFound`` in Docker's words if the registry does not have it, or does not give it to us."""
        board = Board()
        return self._loop.attend(self._pull(wish, board), board, tell, leaving)

    async def _pull(self, wish: Wish, board: Board) -> list[Image]:
        places = endpoints.find(wish.name.domain, self._config, mirrors=True)
        for endpoint in places[:-1]:
            try:
                return await self._pull_from(endpoint, wish, board)
            except Unreachable:
                continue
            except SampanError:
                if not endpoint.is_mirror:
                    raise
        return await self._pull_from(places[-1], wish, board)

    async def _pull_from(self, endpoint: Endpoint, wish: Wish, board: Board) -> list[Image]:
        async with self._repository(endpoint, wish.name, wish.credentials) as source:
            pull = Pull(self._store, self._downloads, source, wish.platform, board)
            try:
                tags = await source.tags() if wish.every else [wish.name.tag]
                if not tags:
                    raise NotFound(f"{wish.name.familiar_name} has no tags")
                return [await pull.run(replace(wish.name, tag=tag)) for tag in tags]
            except SampanError as error:
                raise of_pull(error, wish.name) from error

    @asynccontextmanager
    async def _repository(
        self, endpoint: Endpoint, name: Reference, credentials: Credentials, *, actions: str = "pull"
    ) -> AsyncIterator[Repository]:
        repository = Repository(
            endpoint,
            name,
            credentials,
            patience=self._config.patience,
            attempts=self._config.attempts,
            actions=actions,
        )
        try:
            await repository.connect()
            yield repository
        finally:
            await repository.close()
