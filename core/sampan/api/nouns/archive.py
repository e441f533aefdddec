"""The files of containers: ``cp``, ``export``, ``diff``, ``commit``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from io import BytesIO
from typing import Any

from sampan.api import letters
from sampan.api.call import Call
from sampan.api.nouns import routes
from sampan.api.views import files as views
from sampan.api.wire.answer import Reply, Stream, json
from sampan.api.wire.outlet import Outlet
from sampan.containers.files.archive import Source

TAR = "application/x-tar"
STAT = "X-Docker-Container-Path-Stat"


@routes.head("/containers/{id}/archive")
def look(call: Call) -> Reply:
    status = call.engine.containers.archives.status(call.id, call.query.needed("path"))
    return Reply(200, headers={STAT: views.path_stat(status)})


@routes.get("/containers/{id}/archive")
def fetch(call: Call) -> Stream:
    source = call.engine.containers.archives.read(call.id, call.query.needed("path"))
    assert source.status
    return Stream(_sent(call, source), content_type=TAR, headers={STAT: views.path_stat(source.status)})


@routes.put("/containers/{id}/archive", streams=True)
def put(call: Call) -> Reply:
    query = call.query
    call.engine.containers.archives.write(
        call.id,
        query.needed("path"),
        call.upload() if call.request.body else BytesIO(),
        keep_kinds=query.flag("noOverwriteDirNonDir"),
        as_user=query.flag("copyUIDGID"),
    )
    return Reply(200)


@routes.get("/containers/{id}/export")
def export(call: Call) -> Stream:
    return Stream(_sent(call, call.engine.containers.archives.export(call.id)), content_type="application/octet-stream")


@routes.get("/containers/{id}/changes")
def changes(call: Call) -> Any:
    return json(views.changes(call.engine.containers.archives.changes(call.id)))


@routes.post("/commit")
def commit(call: Call) -> Reply:
    query, config = call.query, call.json(letters.CONTAINER_CONFIG, optional=True)
    repository, label = query.text("repo"), query.text("tag")
    image = call.engine.containers.archives.commit(
        query.needed("container"),
        name=f"{repository}:{label}" if repository and label else repository,
        config=config,
        instructions=[change for text in query.every("changes") for change in text.splitlines()],
        author=query.text("author"),
        comment=query.text("comment"),
        pause=query.flag("pause", True),
    )
    return json({"Id": image.id}, 201)


async def _sent(call: Call, source: Source) -> AsyncGenerator[bytes, None]:
    """The archive, made in a thread; its descriptors are given back whatever becomes of the client."""

    def work(outlet: Outlet) -> None:
        try:
            with outlet.file() as out:
                source.write(out)
        finally:
            source.close()

    pieces = call.from_thread(work)
    try:
        async for piece in pieces:
            yield piece
    finally:
        await pieces.aclose()
