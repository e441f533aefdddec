"""The engine's dealings with registries. Synchronous and thread-safe; imported when a registry is first talked to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from sampan.errors import NotFound, SampanError, Unauthorized, Unavailable
from sampan.images.references import DOMAIN, Reference
from sampan.images.registry import endpoints, fetching, questions
from sampan.images.registry.credentials import Credentials
from sampan.images.registry.download import Downloads
from sampan.images.registry.endpoints import HUB, Endpoint
from sampan.images.registry.failures import Answered, Unreachable, of_pull, of_push
from sampan.images.registry.loop import Leaving, Loop, stays
from sampan.images.registry.progress import Board, Message
from sampan.images.registry.pull import Pull, Store
from sampan.images.registry.push import Push, Source
from sampan.images.registry.repository import Repository
from sampan.images.registry.upload import Uploads
from sampan.images.registry.wishes import Remote, Wish
from sampan.types import Image

if TYPE_CHECKING:
    from sampan.config import RegistriesConfig

T = TypeVar("T")

Tell = Callable[[Message], object]


def silent(message: Message) -> None:
    return


class Registries:
    """``tell`` is given Docker's progress messages. ``leaving`` registers what is called when the client goes away:
    then the work ends, and ``BrokenPipeError`` is raised."""

    def __init__(self, config: RegistriesConfig, store: Store, source: Source) -> None:
        self._config = config
        self._store = store
        self._source = source
        self._loop = Loop()
        self._uploads = Uploads(source.unfinished, config.uploads, config.piece, config.patience)
        self._downloads = Downloads(store.content, store.partials, config.downloads, config.patience)

    def pull(self, wish: Wish, tell: Tell = silent, leaving: Leaving = stays) -> None:
        """``NotFound`` in Docker's words if the registry does not have it, or does not give it to us."""
        board = Board()
        self._loop.attend(self._pull(wish, board), board, tell, leaving)

    def push(
        self,
        name: Reference,
        images: list[tuple[Image, str]],
        credentials: Credentials,
        tell: Tell = silent,
        leaving: Leaving = stays,
    ) -> None:
        """Bring images to the repository of ``name``, each under its tag. ``Forbidden`` if we may not."""
        board = Board()
        self._loop.attend(self._push(name, images, credentials, board), board, tell, leaving)

    async def _push(
        self, name: Reference, images: list[tuple[Image, str]], credentials: Credentials, board: Board
    ) -> None:
        async with self._reached(name, credentials, actions="pull,push") as target:
            push = Push(self._source, self._uploads, target, board)
            try:
                for image, tag in images:
                    await push.run(image, replace(name, tag=tag))
            except SampanError as error:
                raise of_push(error) from error

    def login(self, credentials: Credentials) -> str:
        """Are name and password those of somebody there? Returns an identity token to use instead, if there is one.

        ``Unauthorized`` if they are not.
        """
        server = credentials.server_address
        host = (server.partition("://")[2] or server).partition("/")[0]
        domain = DOMAIN if host in ("", "index.docker.io", HUB) else host
        return self._ask(Reference(domain, ""), credentials, questions.login)

    def search(self, domain: str, term: str, limit: int, credentials: Credentials) -> list[questions.Result]:
        """What a registry has by a name."""
        name = Reference("index.docker.io" if domain == DOMAIN else domain, "")
        return self._ask(name, credentials, lambda server: questions.search(server, term, limit))

    def inspect(self, name: Reference, credentials: Credentials) -> dict[str, Any]:
        """What a registry, or a mirror of it, has under a name: its digest and its platforms. ``NotFound``,
        ``Unauthorized``."""

        async def asking(endpoint: Endpoint) -> dict[str, Any]:
            async with self._repository(endpoint, name, credentials) as server:
                return await questions.inspect(server)

        try:
            return self._loop.attend(self._anywhere(name.domain, asking), Board(), silent)
        except Answered as error:
            raise (Unauthorized if error.denied else NotFound if error.absent else Unavailable)(error.message) from None

    def fetch(self, remote: Remote, take: Callable[[bytes], object]) -> None:
        """Give ``take`` a file of a web server, piece by piece."""
        board = Board()
        work = fetching.fetch(remote.url, take, self._config.patience, board)
        self._loop.attend(work, board, remote.tell, remote.leaving)

    def _ask(self, name: Reference, credentials: Credentials, question: Callable[[Repository], Awaitable[T]]) -> T:
        async def asking() -> T:
            async with self._reached(name, credentials) as server:
                return await question(server)

        return self._loop.attend(asking(), Board(), silent)

    async def _pull(self, wish: Wish, board: Board) -> None:
        await self._anywhere(wish.name.domain, lambda endpoint: self._pull_from(endpoint, wish, board))

    async def _anywhere(self, domain: str, act: Callable[[Endpoint], Awaitable[T]]) -> T:
        """At the first of a registry's mirrors and addresses where that can be done."""
        places = endpoints.find(domain, self._config, mirrors=True)
        for endpoint in places[:-1]:
            try:
                return await act(endpoint)
            except Unreachable:
                continue
            except SampanError:
                if not endpoint.is_mirror:
                    raise
        return await act(places[-1])

    async def _pull_from(self, endpoint: Endpoint, wish: Wish, board: Board) -> None:
        async with self._repository(endpoint, wish.name, wish.credentials) as source:
            pull = Pull(self._store, self._downloads, source, wish.platform, board)
            try:
                tags = await source.tags() if wish.every else [wish.name.tag]
                if not tags:
                    raise NotFound(f"{wish.name.familiar_name} has no tags")
                new = [await pull.run(replace(wish.name, tag=tag)) for tag in tags]
            except SampanError as error:
                raise of_pull(error, wish.name) from error
        what = "Downloaded newer image for" if any(new) else "Image is up to date for"
        board.say(f"Status: {what} {wish.name.familiar()}")

    @asynccontextmanager
    async def _reached(
        self, name: Reference, credentials: Credentials, *, actions: str = "pull"
    ) -> AsyncIterator[Repository]:
        """The registry itself, at whichever of its addresses it answers."""
        places = endpoints.find(name.domain, self._config)
        async with AsyncExitStack() as stack:
            for endpoint in places:
                found = self._repository(endpoint, name, credentials, actions=actions)
                try:
                    repository = await stack.enter_async_context(found)
                    break
                except Unreachable:
                    if endpoint is places[-1]:
                        raise
            yield repository

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
