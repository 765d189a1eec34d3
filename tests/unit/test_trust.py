"""Which certificates a connection trusts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from cloud.tls import Authority
from pullpass.errors import BAD_INPUT, PullpassError
from pullpass.exchange import trust

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A file with one certificate."""
    (tmp_path / "etc").mkdir()
    return Authority(tmp_path / "etc").ca_file


def trusted(bundle: str = "", stores: tuple[str, ...] = ()) -> int:
    """How many certificates are trusted."""
    return len(trust.context(bundle, stores).get_ca_certs())


def refused(bundle: str = "", stores: tuple[str, ...] = ()) -> str:
    """Why a bundle, or the system's store, is not taken."""
    with pytest.raises(PullpassError) as caught:
        trust.context(bundle, stores)
    assert (caught.value.code, caught.value.status) == ("ca-bundle", BAD_INPUT)
    return caught.value.what


def test_bundle_with_names_in_any_encoding(bundle: Path, tmp_path: Path) -> None:
    """Certificates are taken, whatever stands between them; one that stands there twice is one."""
    other = Authority(tmp_path).ca_file.read_bytes()
    one = bundle.read_bytes()
    bundle.write_bytes("# Főtanúsítvány\n".encode() + one + "# é\n".encode("latin-1") + other + b"\0\n" + one)
    assert trusted(str(bundle)) == 2


def test_nobody_else_is_trusted(bundle: Path) -> None:
    """With a bundle, the system's store does not count."""
    assert trusted(str(bundle), trust.SYSTEM_STORES) == 1


def test_first_store_that_is_there(bundle: Path, tmp_path: Path) -> None:
    """Without a bundle it is the system's store, wherever that is; a machine without any says so."""
    (tmp_path / "directory").mkdir()
    stores = (str(tmp_path / "absent"), str(tmp_path / "directory"), str(bundle), str(tmp_path))
    assert trusted(stores=stores) == 1
    assert refused(stores=stores[:2]) == "no store of CA certificates was found on this system"


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n", b"\xff\xfe"])
def test_file_without_a_certificate(content: bytes, bundle: Path) -> None:
    """It is named, with OpenSSL's reason."""
    bundle.write_bytes(content)
    assert refused(str(bundle)).startswith(f"{bundle}: ")


def test_certificate_that_is_cut(bundle: Path) -> None:
    """A whole certificate before it does not make up for it."""
    one = bundle.read_bytes()
    bundle.write_bytes(one + one[: len(one) // 2])
    assert refused(str(bundle)).startswith(f"{bundle}: ")


def test_what_is_no_bounded_regular_file(tmp_path: Path) -> None:
    """A pipe that nobody writes to does not hold up the run, and a device without an end does not fill the memory."""
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero", str(tmp_path)):
        assert refused(path) == f"{path}: not a regular file"
    (tmp_path / "long").write_bytes(b" " * (trust.LIMIT_BYTES + 1))
    assert refused(str(tmp_path / "long")) == f"{tmp_path}/long: longer than 4194304 bytes"
    assert refused(str(tmp_path / "absent")) == f"{tmp_path}/absent: No such file or directory"


@pytest.mark.parametrize("kind", ["bundle", "store"])
def test_file_that_others_may_write_or_replace(kind: str, bundle: Path) -> None:
    """Whoever can do that can pose as the cloud: of the configured file and of the system's."""
    given = (str(bundle), ()) if kind == "bundle" else ("", (str(bundle),))
    bundle.chmod(0o666)
    assert refused(*given) == f"{bundle} may be written by others (mode 0666), expected its owner alone"
    bundle.chmod(0o644)
    bundle.parent.chmod(0o777)
    assert refused(*given) == f"{bundle}: {bundle.parent} may be written by others (mode 0777) and is not sticky"


@pytest.mark.needs("root")
def test_file_of_somebody_else(bundle: Path) -> None:
    """Whatever its mode is now."""
    os.chown(bundle, 12345, 12345)
    assert refused(str(bundle)) == f"{bundle} belongs to user 12345, expected root or 0"
