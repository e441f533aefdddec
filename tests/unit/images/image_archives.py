"""Makers of archives as other engines write them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from typing import Any

from sampan.images.manifests import architecture

Files = dict[str, bytes | None]  # name → content, None for a directory


def tar_of(files: Files, edit: Callable[[tarfile.TarInfo], None] = lambda info: None) -> bytes:
    """A tar of files owned by whoever runs the tests, so that it can be unpacked without root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.uid, info.gid = os.geteuid(), os.getegid()
            info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            info.mode = 0o755 if data is None else 0o644
            info.size = len(data or b"")
            edit(info)
            tar.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config_of(*layers: bytes, **more: Any) -> bytes:
    """The configuration of an image of these uncompressed layers."""
    diff_ids = ["sha256:" + sha(layer) for layer in layers]
    document = {
        "architecture": architecture(),
        "os": "linux",
        "created": "2024-05-06T07:08:09.123456789Z",
        "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        **more,
    }
    return json.dumps(document).encode()


def old_docker(*layers: bytes, tags: tuple[str, ...] = ("old:1",), config: bytes | None = None) -> Files:
    """The files of an archive as docker 20.10 writes it."""
    config = config or config_of(*layers)
    files: Files = {f"{sha(config)}.json": config}
    names = []
    for index, layer in enumerate(layers):
        directory = sha(b"%d" % index)
        files |= {directory: None, f"{directory}/VERSION": b"1.0", f"{directory}/json": b"{}"}
        names.append(f"{directory}/layer.tar")
        files[names[-1]] = layer
    entry = {"Config": f"{sha(config)}.json", "RepoTags": list(tags) or None, "Layers": names}
    return {**files, "manifest.json": json.dumps([entry]).encode(), "repositories": b"{}"}


def layout(*layers: bytes, name: str = "oci:1", diff: tuple[bytes, ...] = (), nested: bool = False) -> Files:
    """The files of an OCI layout; ``diff``: the layers uncompressed, where they are not."""
    config = config_of(*(diff or layers))
    blobs = [config, *layers]
    descriptors = [{"mediaType": "m", "digest": f"sha256:{sha(blob)}", "size": len(blob)} for blob in blobs]
    manifest = json.dumps({"schemaVersion": 2, "config": descriptors[0], "layers": descriptors[1:]}).encode()
    blobs.append(manifest)
    top: dict[str, Any] = {"digest": f"sha256:{sha(manifest)}", "size": len(manifest)}
    if nested:
        other = {"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": "pdp11"}}
        ours = {**top, "platform": {"os": "linux", "architecture": architecture()}}
        index = json.dumps({"schemaVersion": 2, "manifests": [other, ours]}).encode()
        blobs.append(index)
        media_type = "application/vnd.oci.image.index.v1+json"
        top = {"digest": f"sha256:{sha(index)}", "size": len(index), "mediaType": media_type}
    top["annotations"] = {"org.opencontainers.image.ref.name": name}
    return {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [top]}).encode(),
        **{f"blobs/sha256/{sha(blob)}": blob for blob in blobs},
    }


def docker_28(*layers: bytes, tags: tuple[str, ...] = ("new:1",), diff: tuple[bytes, ...] = ()) -> Files:
    """The files of an archive as docker writes it since 25: an OCI layout with a ``manifest.json`` beside."""
    files = layout(*layers, diff=diff)
    config, *blobs = (f"blobs/sha256/{sha(blob)}" for blob in (config_of(*(diff or layers)), *layers))
    [top] = json.loads(files["index.json"] or b"")["manifests"]
    names = [{"io.containerd.image.name": f"docker.io/library/{tag}", _REF: tag.partition(":")[2]} for tag in tags]
    entries = [{**top, "annotations": each} for each in names] or [{**top, "annotations": None}]
    kind = "application/vnd.oci.image.layer.v1.tar"
    described = [{"mediaType": kind, "digest": f"sha256:{sha(each)}", "size": len(each)} for each in layers]
    entry = {"Config": config, "RepoTags": list(tags) or None, "Layers": blobs}
    entry["LayerSources"] = {f"sha256:{sha(each)}": one for each, one in zip(diff or layers, described, strict=True)}
    return {
        **files,
        "index.json": json.dumps({"schemaVersion": 2, "manifests": entries}).encode(),
        "manifest.json": json.dumps([entry]).encode(),
        "repositories": b"{}",
    }


_REF = "org.opencontainers.image.ref.name"
