"""Reading what a caller attaches: regular files and open streams, up to a size, and nothing else."""

from __future__ import annotations

import io
import os
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from postroom.errors import InvalidLetter
from postroom.mime.reading import name_of, read


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    octets = os.urandom(size)
    path.write_bytes(octets)
    assert read(path, size, "file") == octets
    with path.open("rb") as stream:
        assert read(stream, size, "file") == octets


def test_a_symbolic_link_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"octets")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read(tmp_path / "link", 10, "file") == b"octets"


def special_files(folder: Path) -> dict[str, str]:
    os.mkfifo(folder / "fifo")
    (folder / "link").symlink_to(folder / "fifo")
    (folder / "loop").symlink_to(folder / "loop")
    return {
        "a FIFO": str(folder / "fifo"),
        "a link to a FIFO": str(folder / "link"),
        "a link to itself": str(folder / "loop"),
        "a directory": str(folder),
        "a device without end": "/dev/zero",
        "a device without content": "/dev/null",
        "nothing": str(folder / "missing"),
        "a URL": "http://example.org/",
        "a file: URL": "file:///etc/passwd",
        "a NUL": "a\0b",
        "the empty path": "",
    }


def test_only_regular_files_are_read_and_nothing_is_waited_for(tmp_path: Path) -> None:
    for path in special_files(tmp_path).values():
        with pytest.raises(InvalidLetter) as caught:
            read(path, 1000, "attachments[0]")
        (problem,) = caught.value.problems
        assert problem.field == "attachments[0]"


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(InvalidLetter):
            read("socket", 1000, "file")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(mode=0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything: root is not refused")
    with pytest.raises(InvalidLetter, match="Permission denied"):
        read(path, 1000, "file")


def test_a_huge_sparse_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(InvalidLetter, match="10737418240 octets"):
        read(path, 1000, "file")


def test_a_file_that_grows_is_read_up_to_the_size_that_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"12345")
    fstat = os.fstat

    def fstat_and_grow(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        with path.open("ab") as file:
            file.write(b"6789")
        return status

    monkeypatch.setattr(os, "fstat", fstat_and_grow)
    assert read(path, 1000, "file") == b"12345"


def test_a_file_that_shrinks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"12345")
    fstat = os.fstat

    def fstat_and_shrink(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        os.truncate(path, 2)
        return status

    monkeypatch.setattr(os, "fstat", fstat_and_shrink)
    with pytest.raises(InvalidLetter, match="became shorter"):
        read(path, 1000, "file")


class Endless(io.RawIOBase):
    def __init__(self) -> None:
        self.given = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.given += size
        return b"x" * size


def test_a_stream_without_end_is_read_no_further_than_the_limit() -> None:
    stream = Endless()
    with pytest.raises(InvalidLetter, match="1000 are allowed"):
        read(stream, 1000, "file")  # type: ignore[arg-type]
    assert stream.given == 1001


class Dripping(io.RawIOBase):
    def __init__(self, octets: bytes) -> None:
        self.octets = octets

    def read(self, size: int = -1) -> bytes:
        drop, self.octets = self.octets[:1], self.octets[1:]
        return drop


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end() -> None:
    assert read(Dripping(b"12345"), 5, "file") == b"12345"  # type: ignore[arg-type]


class NotReady(io.RawIOBase):
    def read(self, size: int = -1) -> None:
        return None


class Failing(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise OSError("the disk is gone")


def closed() -> io.BytesIO:
    stream = io.BytesIO(b"a")
    stream.close()
    return stream


@pytest.mark.parametrize(
    "stream", [io.StringIO("text"), NotReady(), Failing(), closed(), 5, b"octets", ["a"], bytearray(b"a.txt")]
)
def test_what_is_no_open_binary_file_is_refused(stream: Any) -> None:
    with pytest.raises(InvalidLetter):
        read(stream, 1000, "file")


def test_a_descriptor_is_not_left_open(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"a" * 10)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    read(path, 10, "file")
    for refused_path in (path, tmp_path):
        with pytest.raises(InvalidLetter):
            read(refused_path, 5, "file")
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


@pytest.mark.parametrize(
    ("file", "name"),
    [("a/b.txt", "a/b.txt"), (Path("a/b.txt"), "a/b.txt"), (io.BytesIO(), None), (None, None), ("", None)],
)
def test_the_name_of_a_file_is_its_path(file: Any, name: str | None) -> None:
    assert name_of(file) == name


def test_a_file_is_in_memory_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 20_000_000)
    tracemalloc.start()
    try:
        read(path, 20_000_000, "file")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 26_000_000
