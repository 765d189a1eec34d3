"""Small, valid OCI images: a configuration and one layer each, and an index over two platforms.

Everything is made from the repository's and the tag's name and nothing else, so digests are the same in every run.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(data: bytes) -> str:
    """The OCI digest of `data`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Store:
    """A repository's contents: blobs and manifests by digest, tags."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def find(self, reference: str) -> tuple[str, str, bytes] | None:
        """Digest, media type and bytes of the manifest that `reference`, a tag or a digest, names."""
        found = self.tags.get(reference, reference)
        return (found, *self.manifests[found]) if found in self.manifests else None

    def push(self, name: str, tag: str) -> str:
        """Put a small image for linux/amd64 under `tag`; returns the manifest's digest."""
        descriptor = self._image(name, tag, "amd64")
        self.tags[tag] = descriptor["digest"]
        return self.tags[tag]

    def push_index(self, name: str, tag: str) -> str:
        """Put an index over linux/amd64 and linux/arm64 under `tag`; returns the index's digest."""
        manifests = [
            self._image(name, tag, architecture) | {"platform": {"architecture": architecture, "os": "linux"}}
            for architecture in ("amd64", "arm64")
        ]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        self.tags[tag] = self._manifest(INDEX, index)["digest"]
        return self.tags[tag]

    def _blob(self, media_type: str, data: bytes) -> dict[str, Any]:
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def _manifest(self, media_type: str, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(document, separators=(",", ":")).encode()
        self.manifests[digest(data)] = (media_type, data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)}

    def _image(self, name: str, tag: str, architecture: str) -> dict[str, Any]:
        content = f"{name}:{tag} for {architecture}\n".encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            entry = tarfile.TarInfo("hello.txt")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        layer = archive.getvalue()
        config = {
            "created": "2025-01-01T00:00:00Z", "architecture": architecture, "os": "linux",
            "config": {"Cmd": ["/hello.txt"]},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
            "history": [{"created": "2025-01-01T00:00:00Z", "created_by": "local cloud"}],
        }  # fmt: skip
        return self._manifest(MANIFEST, {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self._blob(CONFIG, json.dumps(config).encode()),
            "layers": [self._blob(LAYER, gzip.compress(layer, mtime=0))],
        })  # fmt: skip
