"""local/download.py and local/lib/unpack.py: a step of data preparation."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from preparation.file_server import FileServer, serving
from preparation.steps import ROOT, run_script

from local import download
from local.download import Archive, Unreachable, fetch, prepare, read_archives
from local.lib.unpack import unpack

CONTENT = bytes(range(256)) * 4000  # a megabyte
ARCHIVES = ROOT / "recipes" / "librispeech" / "archives.tsv"
NO_SERVER = ("--table", ARCHIVES, "--mirror", "http://127.0.0.1:9")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as state:
        yield state


def tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def offer(server: FileServer, content: bytes, name: str = "some.tar.gz") -> Archive:
    server.files[f"/{name}"] = content
    return Archive("some", f"{server.url}/{name}", hashlib.md5(content).hexdigest())


def test_a_file_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    archive = offer(server, CONTENT)
    for _ in range(2):
        assert fetch(archive, tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/some.tar.gz", None)]


def test_an_interrupted_transfer_goes_on_where_it_stopped(
    server: FileServer, tmp_path: Path
) -> None:
    archive = offer(server, CONTENT)
    (tmp_path / "some.tar.gz.part").write_bytes(CONTENT[:1000])
    assert fetch(archive, tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/some.tar.gz", "bytes=1000-")]


def test_a_broken_connection_is_made_again(server: FileServer, tmp_path: Path) -> None:
    archive = offer(server, CONTENT)
    server.break_after = [1000, 500_000]
    assert fetch(archive, tmp_path, pause=0.0).read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=1000-", "bytes=501000-"]


def test_a_connection_that_brings_nothing_is_given_up(server: FileServer, tmp_path: Path) -> None:
    archive = offer(server, CONTENT)
    server.break_after = [1000] + [0] * 50
    with pytest.raises(Unreachable, match="ended at 1000 of 1024000 bytes"):
        fetch(archive, tmp_path, pause=0.0)
    assert len(server.requests) == 1 + download.ATTEMPTS
    server.break_after = []
    assert fetch(archive, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=1000-"


def test_a_server_without_ranges_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    archive = offer(server, CONTENT)
    server.ranges = False
    (tmp_path / "some.tar.gz.part").write_bytes(b"something else")
    assert fetch(archive, tmp_path).read_bytes() == CONTENT


def test_a_wrong_checksum_is_an_error_and_the_next_run_begins_anew(
    server: FileServer, tmp_path: Path
) -> None:
    archive = offer(server, CONTENT)
    server.files["/some.tar.gz"] = CONTENT[::-1]
    with pytest.raises(ValueError, match=rf"md5 is \w+, expected {archive.md5}.*was removed"):
        fetch(archive, tmp_path)
    assert not list(tmp_path.iterdir())
    server.files["/some.tar.gz"] = CONTENT
    assert fetch(archive, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("extra", [b"", b"more"])
def test_a_part_that_is_whole_or_too_long_is_verified(
    server: FileServer, tmp_path: Path, extra: bytes
) -> None:
    archive = offer(server, CONTENT)
    (tmp_path / "some.tar.gz.part").write_bytes(CONTENT + extra)
    if extra:
        with pytest.raises(ValueError, match="md5"):
            fetch(archive, tmp_path)
    assert fetch(archive, tmp_path).read_bytes() == CONTENT


def test_a_file_fetched_by_hand_is_verified_and_kept(server: FileServer, tmp_path: Path) -> None:
    archive = offer(server, CONTENT)
    (tmp_path / "some.tar.gz").write_bytes(CONTENT)
    fetch(archive, tmp_path)
    (tmp_path / "some.tar.gz").write_bytes(CONTENT[:5])
    with pytest.raises(ValueError, match=r"some\.tar\.gz is damaged.*remove it"):
        fetch(archive, tmp_path)
    assert (tmp_path / "some.tar.gz").stat().st_size == 5
    assert server.requests == []


def test_without_a_network_it_says_what_to_fetch_by_hand_and_where_to_put_it(
    tmp_path: Path,
) -> None:
    done = run_script("local/download.py", "dev-clean", "musan", "--to", tmp_path, *NO_SERVER)
    assert done.returncode == 1
    assert done.stderr.startswith("error: cannot fetch http://127.0.0.1:9/resources/12/dev-clean")
    assert "Connection refused" in done.stderr
    for path in ("12/dev-clean", "17/musan"):
        file = tmp_path / f"{path.split('/')[1]}.tar.gz"
        assert f"http://127.0.0.1:9/resources/{path}.tar.gz -> {file}\n" in done.stderr


def test_a_file_that_the_server_does_not_have_is_named(server: FileServer, tmp_path: Path) -> None:
    archive = Archive("some", f"{server.url}/no.tar.gz", "0")
    with pytest.raises(ValueError, match=r"no\.tar\.gz: Not Found.*by hand"):
        prepare([archive], tmp_path)


def test_unpacking_goes_on_and_is_done_once(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"a/one.flac": b"1" * 10, "a/two.flac": b"2" * 20, "a/b/three.txt": b"3"}
    archive = offer(server, tar(files))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.flac").write_bytes(b"x" * 10)  # as long as it should be: is kept
    (tmp_path / "a/two.flac").write_bytes(b"x")
    prepare([archive], tmp_path)
    found = {name: (tmp_path / name).read_bytes() for name in files}
    assert found == {**files, "a/one.flac": b"x" * 10}
    assert "some: 3 files" in capsys.readouterr().out
    (tmp_path / "some.tar.gz").unlink()  # to make room
    prepare([archive], tmp_path)
    assert "done before" in capsys.readouterr().out
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["/tmp/evil", "a/../../evil"])
def test_an_archive_that_writes_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "some.tar.gz"
    path.write_bytes(tar({name: b"1"}))
    with pytest.raises(ValueError, match="outside its folder"):
        unpack(path, tmp_path / "out", "0")


def test_an_archive_with_links_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        unpack(path, tmp_path / "out", "0")


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.tar.gz"
    path.write_bytes(tar({"a": b"1" * 9999})[:-40])
    with pytest.raises(ValueError, match=r"some\.tar\.gz cannot be unpacked"):
        unpack(path, tmp_path / "out", "0")


def test_too_small_a_disk_is_an_error_before_anything_is_fetched(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.lib.disk_space.free_bytes", lambda folder: 1000)
    with pytest.raises(ValueError, match=r"takes about 0\.0 GB, but only 0\.0 GB are free"):
        fetch(offer(server, CONTENT), tmp_path)
    assert not (tmp_path / "some.tar.gz.part").exists()


def test_the_table_of_the_recipe_is_whole() -> None:
    archives = read_archives(ARCHIVES, "https://example.org/")
    assert len(archives) == 10
    for name, archive in archives.items():
        assert archive.url.startswith("https://example.org/resources/")
        assert archive.file_name == f"{name}.tar.gz"
        assert len(bytes.fromhex(archive.md5)) == 16


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    done = run_script("local/download.py", "dev-claen", "--to", tmp_path, *NO_SERVER)
    assert done.returncode == 1
    assert "dev-claen: not in" in done.stderr and "dev-clean, dev-other" in done.stderr
