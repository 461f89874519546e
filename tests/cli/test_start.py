"""A command loads what it needs: none that calls nothing loads boto3, which takes a quarter of a second."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from provision.__main__ import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("loaded:", *sorted({"boto3", "botocore.session", "awscrt"} & set(sys.modules)))
"""


def loaded_by(folder: Path, *words: str) -> str:
    """In a folder without any run: to show one, `replay` loads botocore's models of the calls."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=60
    )
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("--bogus",), ("errata",), ("replay",), ("status", "--help")], ids=" ".join
)
def test_boto3_is_not_loaded(words: tuple[str, ...], tmp_path: Path) -> None:
    assert loaded_by(tmp_path, *words) == "loaded:"


def test_boto3_is_loaded_where_aws_is_called(tmp_path: Path) -> None:
    assert "boto3" in loaded_by(tmp_path, "--dry-run", "--endpoint-url", "http://127.0.0.1:9")
