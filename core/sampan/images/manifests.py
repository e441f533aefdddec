"""What an image archive says it holds: Docker's ``manifest.json`` or an OCI layout's ``index.json``.

Docker archives: https://github.com/moby/docker-image-spec; up to 20.10 layers are ``ID/layer.tar``, since 25 they are
``blobs/sha256/HEX`` and the archive is an OCI layout as well. OCI layouts: OCI image specification, image-layout.md.
"""

from __future__ import annotations

import os
import posixpath
import re
from datetime import datetime
from typing import Annotated, Any

import msgspec

from sampan.errors import Invalid, Unsupported
from sampan.images import references
from sampan.images.archive import Archive, decode
from sampan.images.content import Ingest, hex_of

DOCKER_MANIFEST = "manifest.json"
OCI_INDEX = "index.json"
NAME_ANNOTATION = "io.containerd.image.name"
TAG_ANNOTATION = "org.opencontainers.image.ref.name"
DEPTH = 4  # indexes within indexes
NAMES = 4096  # of all images of an archive: each costs a look at all others
LAYER_LIMIT = 1024  # more than any storage driver can stack in one mount

_INDEX_TYPES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
_DIGEST_NAME = re.compile(r"(?:blobs/sha256/)?([a-f0-9]{64})(?:\.json)?")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)  # as Go writes it
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


Long = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""As large as clients can read it."""


class Found(msgspec.Struct):
    """One image of an archive: its configuration as it is hashed, its layers in order, its normalised names; the id of
    the image that it was made of, if the archive says so."""

    config: bytes
    layers: list[Ingest]
    references: list[str]
    parent: str = ""


class _DockerEntry(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None
    parent: str | None = None


class _Platform(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str = ""


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: str
    media_type: str = ""
    size: int = -1
    annotations: dict[str, str] | None = None
    platform: _Platform | None = None


class _Index(msgspec.Struct):
    manifests: list[_Descriptor]


class _Manifest(msgspec.Struct):
    config: _Descriptor
    layers: list[_Descriptor]


class _RootFs(msgspec.Struct):
    diff_ids: list[str] | None = None


class _Health(msgspec.Struct, rename="pascal"):
    test: list[str] | None = None
    interval: Long | None = None
    timeout: Long | None = None
    start_period: Long | None = None
    start_interval: Long | None = None
    retries: Long | None = None


class _Defaults(msgspec.Struct, rename="pascal"):
    """What others read of an image's ``config`` object, so that it can be relied on later."""

    user: str | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    stop_signal: str | None = None
    exposed_ports: dict[str, Any] | None = None
    volumes: dict[str, Any] | None = None
    labels: dict[str, str] | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None
    healthcheck: _Health | None = None
    args_escaped: bool | None = None
    hostname: str | None = None
    domainname: str | None = None
    image: str | None = None
    mac_address: str | None = None
    stop_timeout: Long | None = None
    tty: bool | None = None
    open_stdin: bool | None = None
    stdin_once: bool | None = None
    attach_stdin: bool | None = None
    attach_stdout: bool | None = None
    attach_stderr: bool | None = None
    network_disabled: bool | None = None


class _Step(msgspec.Struct):
    created: str | None = None
    created_by: str | None = None
    comment: str | None = None
    empty_layer: bool | None = None


class _Config(msgspec.Struct):
    rootfs: _RootFs
    os: str = "linux"
    architecture: str = ""
    variant: str | None = None
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    docker_version: str | None = None
    config: _Defaults | None = None
    history: list[_Step] | None = None


def architecture() -> str:
    """This machine's, in the words of the OCI (Go's GOARCH)."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def images(archive: Archive) -> list[Found]:
    """Every image of an archive. ``Invalid`` if it has none or something that it names is missing or wrong."""
    if DOCKER_MANIFEST in archive:
        found = _docker(archive)
    elif OCI_INDEX in archive:
        found = _oci(archive)
    else:
        raise Invalid(
            "this is not an image archive, or it is cut short: it has neither manifest.json (docker save) "
            "nor index.json (OCI layout); a plain root file system is for import"
        )
    if not found:
        raise Invalid("the archive names no image")
    names = sum(len(each.references) for each in found)
    if names > NAMES:
        raise Invalid(f"the archive gives its images {names} names, and {NAMES} is the most")
    return found


def config(data: bytes, layers: int | None = None) -> dict[str, Any]:
    """An image configuration as parsed. ``Invalid`` if it has not as many diff ids as there are layers or is otherwise
    not as it should be, ``Unsupported`` if it is not for Linux."""
    what = "an image's configuration"
    checked: _Config = decode(data, what, _Config)
    diff_ids = checked.rootfs.diff_ids or []
    if layers is not None and len(diff_ids) != layers:
        raise Invalid(f"{what} is not as it should be: it has {len(diff_ids)} diff ids for {layers} layers")
    if len(diff_ids) > LAYER_LIMIT:
        raise Invalid(f"the image has {len(diff_ids)} layers, and {LAYER_LIMIT} is the most")
    if checked.os not in ("", "linux"):
        raise Unsupported(f"cannot load {checked.os[:40]} image on linux: only Linux images run here")
    for diff_id in diff_ids:
        hex_of(diff_id)
    if checked.created and not _is_moment(checked.created):
        raise Invalid(f"{what} is not as it should be: created is {checked.created[:40]!r}, not a time (RFC 3339)")
    parsed: dict[str, Any] = decode(data, what, dict[str, Any])
    return parsed


def _is_moment(text: str) -> bool:
    match = _MOMENT.fullmatch(text)
    try:
        return match is not None and bool(datetime.fromisoformat(match[1] + match[2].replace("Z", "+00:00")))
    except ValueError:
        return False


def _docker(archive: Archive) -> list[Found]:
    entries: list[_DockerEntry] = archive.json(DOCKER_MANIFEST, "name", list[_DockerEntry])
    found = []
    for entry in entries:
        names = [_tag(tag) for tag in entry.repo_tags or []]
        layers = [_named(archive, name) for name in entry.layers or []]
        _named(archive, entry.config)
        found.append(Found(archive.bytes(entry.config, DOCKER_MANIFEST), layers, names, entry.parent or ""))
    return found


def _tag(text: str) -> str:
    """A name that an archive gives. Under which digest an image is in a registry is not for an archive to say."""
    name = references.parse(text)
    if name.digest:
        raise Invalid(f'invalid tag "{text[:200]}": a name with a digest is given by registries only')
    return str(name.tagged())


def _named(archive: Archive, name: str) -> Ingest:
    """A file that ``manifest.json`` names; if its name is a digest, its content must have it."""
    file = archive.file(name, DOCKER_MANIFEST)
    if (match := _DIGEST_NAME.fullmatch(name)) and file.digest != f"sha256:{match.group(1)}":
        raise Invalid(f'"{name}" in the archive is damaged: its digest is {file.digest}')
    return file


def _oci(archive: Archive) -> list[Found]:
    index: _Index = archive.json(OCI_INDEX, "layout", _Index)
    by_name: dict[str | None, list[_Descriptor]] = {}
    for descriptor in index.manifests:
        by_name.setdefault(_name(descriptor), []).append(descriptor)
    merged: dict[str, Found] = {}
    for name, descriptors in by_name.items():
        for descriptor in _ours(archive, descriptors) if len(descriptors) > 1 else descriptors:
            manifest_digest, found = _manifest(archive, descriptor, DEPTH)
            known = merged.setdefault(manifest_digest, found)
            known.references += [name] if name else []
    return list(merged.values())


def _manifest(archive: Archive, descriptor: _Descriptor, depth: int) -> tuple[str, Found]:
    """Follow a descriptor to an image manifest for this machine, through indexes if need be."""
    data = _blob(archive, descriptor, "index")
    document = decode(data, f"the manifest {descriptor.digest}", dict[str, Any])
    if "manifests" in document or descriptor.media_type in _INDEX_TYPES:
        nested: _Index = decode(data, f"the index {descriptor.digest}", _Index)
        ours = _ours(archive, nested.manifests)
        if not ours or depth == 0:
            raise Invalid(f"the index {descriptor.digest} has no image for linux/{architecture()}")
        return _manifest(archive, ours[0], depth - 1)
    manifest: _Manifest = decode(data, f"the manifest {descriptor.digest}", _Manifest)
    config = _blob(archive, manifest.config, "manifest")
    layers = [_checked(archive, layer, "manifest") for layer in manifest.layers]
    return descriptor.digest, Found(config, layers, [])


def _ours(archive: Archive, descriptors: list[_Descriptor]) -> list[_Descriptor]:
    """Those for this machine, or without a platform; an archive may name others without having them."""
    plain = [each for each in descriptors if each.platform is None and _path(each) in archive]
    wanted = [
        each
        for each in descriptors
        if each.platform is not None
        and (each.platform.os, each.platform.architecture) == ("linux", architecture())
        and _path(each) in archive
    ]
    return wanted or plain


def _name(descriptor: _Descriptor) -> str | None:
    """The normalised name that an index's annotations give an image; a bare ``latest`` and a digest name nothing."""
    annotations = descriptor.annotations or {}
    text = annotations.get(NAME_ANNOTATION) or annotations.get(TAG_ANNOTATION) or ""
    if text in ("", references.LATEST) or references.parse(text).digest:
        return None
    return _tag(text)


def _path(descriptor: _Descriptor) -> str:
    return posixpath.join("blobs", "sha256", hex_of(descriptor.digest))


def _checked(archive: Archive, descriptor: _Descriptor, wanted_by: str) -> Ingest:
    file = archive.file(_path(descriptor), wanted_by)
    if file.digest != descriptor.digest:
        raise Invalid(f"the blob {descriptor.digest} of the archive is damaged: its digest is {file.digest}")
    if descriptor.size not in (-1, file.size):
        raise Invalid(f"the blob {descriptor.digest} has {file.size} bytes, but {descriptor.size} were announced")
    return file


def _blob(archive: Archive, descriptor: _Descriptor, wanted_by: str) -> bytes:
    _checked(archive, descriptor, wanted_by)
    return archive.bytes(_path(descriptor), wanted_by)
