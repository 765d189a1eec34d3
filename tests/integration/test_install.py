"""Installing the launchers: what is written, and what is refused."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.launchers import write_config
from pullpass.install import LAUNCHERS

if TYPE_CHECKING:
    from cloud import Cloud


def test_install_refuses_what_could_not_work(cloud: Cloud, tmp_path: Path) -> None:
    """No configuration, a directory that can't be made, an interpreter that no interpreter line can name."""

    def run(*words: str, python: str = sys.executable) -> tuple[int, str]:
        done = subprocess.run([python, "-m", "pullpass", "install", *words], capture_output=True, check=False)
        assert done.stderr.count(b"\n") == 1
        return done.returncode, done.stderr.decode()

    config = str(write_config(tmp_path, cloud))
    status, line = run("--bin-dir", str(tmp_path / "bin"), "--config", str(tmp_path / "none.toml"))
    assert (status, line.split(":")[1]) == (2, " config-missing")
    assert not (tmp_path / "bin").exists()
    (tmp_path / "file").write_text("")
    status, line = run("--bin-dir", str(tmp_path / "file" / "bin"), "--config", config)
    assert (status, line.split(":")[1]) == (6, " install-failed")
    spaced = tmp_path / "with space"
    spaced.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(spaced)], check=True)
    site = next(spaced.glob("lib/python*/site-packages"))
    (site / "here.pth").write_text("\n".join(path for path in sys.path if path))
    status, line = run("--bin-dir", str(tmp_path / "bin"), "--config", config, python=str(spaced / "bin" / "python"))
    assert (status, line.split(":")[1]) == (6, " install-interpreter")


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_install_writes_nothing_where_others_may_write(cloud: Cloud, tmp_path: Path, mode: int) -> None:
    """Whoever may write the directory decides what root runs."""
    config = write_config(tmp_path, cloud)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin").chmod(mode)
    words = [sys.executable, "-m", "pullpass", "install", "--bin-dir", str(tmp_path / "bin"), "--config", str(config)]
    done = subprocess.run(words, capture_output=True, check=False)
    assert (done.returncode, done.stderr.split(b":")[1]) == (6, b" install-failed")
    assert list((tmp_path / "bin").iterdir()) == []


def test_install_makes_directories_for_their_owner_whatever_the_umask(cloud: Cloud, tmp_path: Path) -> None:
    """A parent that others may write would let them replace the directory."""
    config = write_config(tmp_path, cloud)
    words = f"umask 0; exec {sys.executable} -m pullpass install --bin-dir {tmp_path}/a/b --config {config}"
    subprocess.run(["sh", "-c", words], check=True, capture_output=True)
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_install_tells_what_it_wrote(cloud: Cloud, tmp_path: Path) -> None:
    """In words and as JSON, and it may be run again."""
    config = write_config(tmp_path, cloud)
    words = [
        sys.executable,
        "-m",
        "pullpass",
        "install",
        "--bin-dir",
        str(tmp_path / "deep" / "bin"),
        "--config",
        str(config),
    ]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    document = json.loads(subprocess.run([*words, "--json"], check=True, capture_output=True, text=True).stdout)
    assert document["launchers"] == [str(tmp_path / "deep" / "bin" / name) for name in LAUNCHERS]
    assert document["runtime"] == str(tmp_path / "run")
    for path in document["launchers"]:
        assert f"wrote {path}\n" in text
        first = Path(path).read_text().splitlines()[0]
        assert first == f"#!{document['interpreter']} -IS"
