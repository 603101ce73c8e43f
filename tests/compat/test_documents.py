"""The compatibility table names tests that exist, and every quirk and defect once."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")


def test_every_test_that_is_named_exists() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = set(re.findall(r"`(test_\w+)`", TEXT))
    assert len(names) >= 10
    assert not [name for name in names if f"def {name}(" not in sources]
    places = set(re.findall(r"`(tests/[\w/.]+)`", TEXT))
    assert not [place for place in places if not (ROOT / place).exists()]


def test_every_quirk_and_defect_has_one_row() -> None:
    ids = re.findall(r"^\| ([QD]-\d+) \|", TEXT, re.MULTILINE)
    assert ids == [f"Q-{n}" for n in range(1, 20)] + [f"D-{n}" for n in range(1, 32)]
