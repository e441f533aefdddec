"""Blobs are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.errors import Invalid, NotFound
from sampan.images.content import ContentStore
from unit.images.image_archives import sha


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    made = ContentStore(tmp_path / "content")
    made.open()
    return made


def test_keeps_content_where_the_oci_layout_has_it(store: ContentStore) -> None:
    digest = store.add(b"hello")
    assert digest == "sha256:" + sha(b"hello")
    assert (store.root / "blobs" / "sha256" / sha(b"hello")).read_bytes() == b"hello"
    assert (store.size(digest), list(store.digests())) == (5, [digest])


def test_a_wrong_digest_is_refused_and_leaves_nothing(store: ContentStore) -> None:
    with store.ingest() as ingest:
        ingest.write(b"hello")
        with pytest.raises(Invalid, match="does not match its digest"):
            ingest.commit("sha256:" + "0" * 64)
    assert not list(store.digests())
    assert not list(store.ingest_root.iterdir())


def test_an_interrupted_write_is_gone_after_opening(store: ContentStore) -> None:
    store.ingest().write(b"half")
    ContentStore(store.root).open()
    assert not list(store.ingest_root.iterdir())


def test_damage_is_found_and_healed_by_adding_again(store: ContentStore) -> None:
    digest = store.add(b"hello")
    store.path(digest).write_bytes(b"hellO")
    with pytest.raises(Invalid, match="is damaged"):
        store.verify(digest)
    store.add(b"hello")
    store.verify(digest)


def test_the_same_content_twice_is_one_blob(store: ContentStore) -> None:
    with store.ingest() as one, store.ingest() as two:
        one.write(b"x")
        two.write(b"x")
        assert one.commit() == two.commit() == two.commit()
    assert len(list(store.digests())) == 1


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "a" * 64, "sha256:" + "A" * 64])
def test_what_is_no_digest_is_no_path(store: ContentStore, digest: str) -> None:
    with pytest.raises(Invalid, match="is not a digest"):
        store.path(digest)


def test_a_missing_blob_is_named(store: ContentStore) -> None:
    with pytest.raises(NotFound, match="has no blob sha256:" + "0" * 64):
        store.reader("sha256:" + "0" * 64)
