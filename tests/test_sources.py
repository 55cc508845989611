"""Laws of finding files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clipcal.errors import SourceError
from clipcal.index.sources import covered, discover, has_vanished, path_of, uri_of


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def names(sources: list[Path | str]) -> list[str]:
    return [Path(f.path).name for f in discover([str(s) for s in sources]).files]


def test_a_folder_is_walked_in_a_fixed_order_and_other_files_are_counted(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "sub/c.webp", "notes.md", "Makefile"):
        touch(tmp_path / name)
    found = discover([str(tmp_path)])
    assert [Path(f.path).name for f in found.files] == ["a.JPG", "b.png", "c.webp"]
    assert found.passed_over == {".md": 1, "(no ending)": 1}


def test_a_file_named_twice_is_found_once(tmp_path: Path) -> None:
    one = touch(tmp_path / "a.png")
    assert names([one, tmp_path, f"{tmp_path}/*.png"]) == ["a.png"]


def test_a_named_file_is_taken_whatever_its_ending(tmp_path: Path) -> None:
    assert names([touch(tmp_path / "photo")]) == ["photo"]


def test_globs_reach_into_subfolders(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "one.png")
    touch(tmp_path / "a" / "b" / "two.png")
    touch(tmp_path / "a" / "b" / "three.jpg")
    assert names([f"{tmp_path}/**/*.png"]) == ["two.png", "one.png"]
    for pattern in ("**", "**/**", "a**", "**/a**/*"):
        assert sorted(names([f"{tmp_path}/{pattern}"])) == ["one.png", "three.jpg", "two.png"]


def test_a_list_of_paths_is_read_with_a_bom_comments_and_odd_bytes(tmp_path: Path) -> None:
    touch(tmp_path / "a.png")
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.png")
    Path(odd).write_bytes(b"x")
    lines = b"\xef\xbb\xbfa.png\n# no\n\n" + os.fsencode(odd) + b"\r\ngone.png\n"
    (tmp_path / "list.txt").write_bytes(lines)
    found = discover([str(tmp_path / "list.txt")])
    assert [f.path for f in found.files] == [str(tmp_path / "a.png"), odd]
    assert [u.reason for u in found.unreadable] == ["no such file (line 5 of list.txt)"]


def test_a_uri_is_valid_text_and_leads_back_to_the_file(tmp_path: Path) -> None:
    for name in (b"plain.png", b"new\nline.png", b"odd\xff\xfe.png", "ä☂.png".encode()):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
        uri = uri_of(path)
        uri.encode()
        assert path_of(uri) == path


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "a.png")
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "x.png").symlink_to(tmp_path / "real" / "y.png")
    (tmp_path / "real" / "y.png").symlink_to(tmp_path / "real" / "x.png")
    found = discover([str(tmp_path / "real")])
    assert [Path(f.path).name for f in found.files] == ["a.png"]
    assert sorted(Path(u.uri).name for u in found.unreadable) == ["x.png", "y.png"]
    assert all("symbolic links" in u.reason for u in found.unreadable)


def test_what_is_no_regular_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    found = discover([str(tmp_path)])
    assert [u.reason for u in found.unreadable] == ["not a regular file"]


def test_a_folder_that_cannot_be_read_is_recorded_and_the_rest_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "closed" / "a.png")
    touch(tmp_path / "open" / "b.png")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr("clipcal.index.sources.os.scandir", refuse)
    found = discover([str(tmp_path), f"{tmp_path}/**/*.png"])
    assert [Path(f.path).name for f in found.files] == ["b.png"]
    assert [(Path(u.uri).name, u.reason) for u in found.unreadable] == [
        ("closed", "permission denied")
    ]


@pytest.mark.parametrize("source", ["nowhere", "nowhere/*.png"])
def test_a_source_that_is_not_there_is_refused_with_the_next_step(source: str) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        discover([source])


@pytest.mark.parametrize("pattern", ["**/*.jpg", "**", "*", "**/**/*.jpg", "**/"])
def test_a_glob_enters_each_real_folder_once(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path / "loop" / "a.jpg")
    touch(tmp_path / "loop" / "sub" / "b.jpg")
    for name in ("again", "once_more", "sub/up"):  # together, paths without end
        (tmp_path / "loop" / name).symlink_to(tmp_path / "loop", target_is_directory=True)
    found = discover([f"{tmp_path}/loop/{pattern}"])
    assert sorted(Path(f.path).name for f in found.files) == ["a.jpg", "b.jpg"]


def test_one_file_under_two_names_is_two_items_where_its_folders_differ(tmp_path: Path) -> None:
    first = touch(tmp_path / "a" / "x.jpg")
    (tmp_path / "b").mkdir()
    os.link(first, tmp_path / "b" / "x.jpg")
    os.link(first, tmp_path / "b" / "y.jpg")
    assert names([f"{tmp_path}/**/*.jpg"]) == ["x.jpg", "x.jpg", "y.jpg"]


def test_hidden_folders_are_left_to_globs_that_name_them(tmp_path: Path) -> None:
    touch(tmp_path / ".cache" / "a.jpg")
    touch(tmp_path / "b.jpg")
    assert names([f"{tmp_path}/**/*.jpg"]) == ["b.jpg"]
    assert names([f"{tmp_path}/.cache/**"]) == ["a.jpg"]
    assert names([tmp_path]) == ["b.jpg", "a.jpg"]


def test_brackets_in_the_working_folder_are_no_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "[1]" / "sub" / "a.jpg")
    monkeypatch.chdir(tmp_path / "[1]")
    assert names(["*/*.jpg"]) == ["a.jpg"]
    assert names(["**/*.jpg"]) == ["a.jpg"]


@pytest.mark.parametrize(
    ("source", "reached", "beyond"),
    [
        ("dir/*.jpg", ["dir/a.jpg"], ["dir/a.png", "dir/sub/a.jpg", "a.jpg", "dir/.a.jpg"]),
        ("dir/**/*.jpg", ["dir/a.jpg", "dir/x/y/a.jpg"], ["dir/a.png", "dir/.x/a.jpg"]),
        ("dir/**", ["dir/a.jpg", "dir/x/a.png"], ["dirt/a.jpg"]),
        ("di?", ["dir/x/a.jpg"], ["dirt/a.jpg"]),
        ("dir", ["dir/a.jpg", "dir/x/a.png", "dir"], ["dirt/a.jpg"]),
        ("a [1].jpg", ["a [1].jpg"], ["a.jpg"]),
        ("od\udcff", ["od\udcff/a.jpg"], ["od/a.jpg"]),
    ],
)
def test_what_is_gone_is_reached_as_if_it_were_there(
    tmp_path: Path, source: str, reached: list[str], beyond: list[str]
) -> None:
    found = discover([f"{tmp_path}/{source}"], allow_missing=True)
    uris = [uri_of(f"{tmp_path}/{name}") for name in reached]
    others = [uri_of(f"{tmp_path}/{name}") for name in beyond]
    assert list(covered([*uris, *others, "s3://elsewhere/a.jpg"], found)) == uris


def test_a_name_of_a_list_is_reached_beside_the_list_too(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\n")
    found = discover([str(tmp_path / "list.txt")], allow_missing=True)
    assert list(covered([str(tmp_path / "a.jpg")], found)) == [str(tmp_path / "a.jpg")]


@pytest.mark.parametrize(
    ("error", "vanished"),
    [
        (FileNotFoundError(2, "gone"), True),
        (NotADirectoryError(20, "its folder is a file now"), True),
        (PermissionError(13, "no entry"), False),
        (OSError(116, "stale file handle"), False),
        (OSError(5, "input/output error"), False),
    ],
)
def test_only_what_is_certainly_gone_has_vanished(
    monkeypatch: pytest.MonkeyPatch, error: OSError, vanished: bool
) -> None:
    def refuse(path: str) -> None:
        raise error

    monkeypatch.setattr("clipcal.index.sources.os.lstat", refuse)
    assert has_vanished("/photos/a.jpg") is vanished
