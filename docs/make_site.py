"""Put the pages of the documentation together: the written ones, the generated ones, the executed notebooks.

``python docs/make_site.py`` writes ``build/docs/pages``, from which mkdocs makes ``build/docs/site``
(``make docs`` does both). Parameters and commands are described where they are defined; nothing is copied by
hand. Works without a network, and so does the site.
"""

from __future__ import annotations

import argparse
import base64
import inspect
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "build" / "docs" / "pages"
WRITTEN = ("compatibility", "cluster", "service", "performance", "parity", "alignment", "noise",
           "cosmic-rays", "scaling", "reliability")  # fmt: skip
"""Pages of this folder in the order of the menu; those that are not there are left out."""
TITLES = {"compatibility": "Quirks and defects, one by one", "cosmic-rays": "Cosmic rays", "noise": "Errors"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--no-notebooks", action="store_true", help="leave the notebooks out: they take minutes"
    )
    options = parser.parse_args()
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir(parents=True)
    guide = list(_readme())
    for folder in ("img", "images"):
        if (ROOT / "docs" / folder).is_dir():
            shutil.copytree(ROOT / "docs" / folder, PAGES / folder)
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copyfile(picture, PAGES / picture.name)
    reference = [_write("parameters", _parameters()), _write("align-parameters", _align_parameters())]
    reference += [_write("commands", _commands()), _write("python", _python())]
    written = [name for name in WRITTEN if (ROOT / "docs" / f"{name}.md").exists()]
    for name in written:
        text = (ROOT / "docs" / f"{name}.md").read_text()
        (PAGES / f"{name}.md").write_text(_relinked(text))
    notebooks = [] if options.no_notebooks else [_notebook(path) for path in _notebooks()]
    menu: list[Any] = [
        {"Guide": guide},
        *([{"Notebooks": notebooks}] if notebooks else []),
        {"Reference": reference},
        {"What was measured": [{TITLES.get(name, _title(name)): f"{name}.md"} for name in written]},
    ]
    _write_configuration(menu)
    return 0


def _write_configuration(menu: list[Any]) -> None:
    """The configuration with the menu of the pages that are there."""
    text = (ROOT / "docs" / "mkdocs.yml").read_text()
    place = PAGES.parent
    text = text.replace("../build/docs/", f"{place}/")
    (place / "mkdocs.yml").write_text(text + yaml.safe_dump({"nav": menu}, sort_keys=False))


def _title(name: str) -> str:
    return name.replace("-", " ").capitalize()


def _write(name: str, text: str) -> dict[str, str]:
    (PAGES / f"{name}.md").write_text(text)
    return {text.split("\n", 1)[0].removeprefix("# "): f"{name}.md"}


def _relinked(text: str) -> str:
    """Links between files of the repository as links between pages."""
    return re.sub(r"\]\((?:docs/)?([\w-]+\.md)\)", r"](\1)", text)


def _readme() -> Iterator[dict[str, str]]:
    """The guide: the chapters of the README as pages of their own."""
    text = _relinked((ROOT / "README.md").read_text())
    head, *chapters = re.split(r"^## ", text, flags=re.MULTILINE)
    names = {
        "DrizzlePac -> here": ("coming-from-drizzlepac", "Coming from DrizzlePac"),
        "Parameters": ("giving-parameters", "Giving parameters"),
    }
    start = [head.replace("# mosaic", "# Quick start", 1)]
    pages: list[tuple[str, str, str]] = []
    for chapter in chapters:
        title, body = chapter.split("\n", 1)
        if title in {"Two commands", "Using it"}:
            start.append(f"## {title}\n{body}")
            continue
        name, shown = names.get(title, (re.sub(r"\W+", "-", title.lower()).strip("-"), title))
        # Diagrams are drawn by a script that only a network could bring.
        body = re.sub(r"```mermaid.*?```\n", "", body, flags=re.DOTALL)
        pages.append((name, shown, f"# {shown}\n{body}"))
    yield {"Quick start": "index.md"}
    (PAGES / "index.md").write_text("\n".join(start))
    for name, shown, body in pages:
        (PAGES / f"{name}.md").write_text(body)
        yield {shown: f"{name}.md"}


def _cell(value: object) -> str:
    """A value in a table."""
    if value is None or value == "":
        return ""
    if isinstance(value, tuple):
        return "`" + " ".join(f"{number:g}" for number in value) + "`"
    return f"`{value}`"


def _table(model: Any, names: list[str]) -> list[str]:
    lines = ["| parameter | default | meaning |", "|---|---|---|"]
    defaults = model()
    for name in names:
        meaning = (model.model_fields[name].description or "").replace("|", "\\|")
        lines.append(f"| `{name}` | {_cell(getattr(defaults, name))} | {meaning} |")
    return [*lines, ""]


def _parameters() -> str:
    from mosaic.provenance import sections
    from mosaic.settings import Settings

    lines = [
        "# Parameters of drizzle",
        "",
        "Names are DrizzlePac's; `mosaic parameters` shows the same list.",
        "",
    ]
    for title, names in sections():
        lines += [f"## {title}", "", *_table(Settings, names)]
    return "\n".join(lines)


def _align_parameters() -> str:
    from mosaic.alignment import settings

    lines = ["# Parameters of align", "", "Names are those of TweakReg and imagefindpars.", ""]
    for title, model in (("Alignment", settings.AlignSettings), ("Source finding", settings.FindSettings)):
        lines += [f"## {title}", "", *_table(model, list(model.model_fields))]
    return "\n".join(lines)


def _commands() -> str:
    import typer

    from mosaic.cli.app import app

    lines = ["# Commands", ""]
    group: Any = typer.main.get_command(app)
    for name, command in sorted(_walk(group, "mosaic")):
        lines += [f"## {name}", "", *_command(name, command)]
    return "\n".join(lines)


def _command(name: str, command: Any) -> list[str]:
    """Usage, help and a table of the options of a command."""
    context = type(command).context_class(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    lines = ["```sh", usage, "```", "", *inspect.cleandoc(command.help or "").split("\n"), ""]
    options = [one for one in command.params if one.name != "help"]
    if options:
        lines += ["| option | value | meaning |", "|---|---|---|"]
    for one in options:
        spelt = ", ".join(f"`{text}`" for text in (*one.opts, *one.secondary_opts)) if one.opts else one.name
        kind = one.type_descriptor.annotation
        value = "" if kind is bool else one.metavar or getattr(kind, "__name__", "")
        meaning = (getattr(one, "help", "") or "").replace("|", "\\|")
        lines.append(f"| {spelt} | {'`' + value + '`' if value else ''} | {meaning} |")
    return [*lines, ""]


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    members = getattr(command, "commands", None)
    if not members:
        yield name, command
        return
    for member, inner in members.items():
        if not inner.hidden:
            yield from _walk(inner, f"{name} {member}")


def _python() -> str:
    import mosaic
    from mosaic.explore.accessor import MosaicAccessor

    lines = ["# Python", ""]
    for name in mosaic.__all__:
        value = getattr(mosaic, name)
        lines += _described(f"mosaic.{name}", value)
    lines += ["## The accessor `dataset.mosaic`", ""]
    for name, member in vars(MosaicAccessor).items():
        if name.startswith("_"):
            continue
        lines += _described(
            f"dataset.mosaic.{name}", member.fget if isinstance(member, property) else member, 3
        )
    return "\n".join(lines)


def _described(name: str, value: Any, level: int = 2) -> list[str]:
    """A heading, the signature, and the docstring with its sections as they are."""
    is_function = inspect.isfunction(value)
    signature = f"{name}{inspect.signature(value)}" if is_function else name
    text = inspect.getdoc(value) or ""
    return [f"{'#' * level} {name}", "", "```python", signature, "```", "", "```text", text, "```", ""]


def _notebooks() -> list[Path]:
    return sorted((ROOT / "notebooks").glob("[0-9]*.py"))


def _notebook(path: Path) -> dict[str, str]:
    """Execute a percent script as a notebook and write it as a page with its pictures."""
    import jupytext
    from nbclient import NotebookClient

    notebook = jupytext.read(path)
    print(f"running {path.name}", file=sys.stderr, flush=True)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": ROOT}}
    ).execute()
    lines: list[str] = []
    pictures = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            lines += [cell.source, ""]
            continue
        lines += ["```python", cell.source, "```", ""]
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                pictures += 1
                picture = PAGES / f"{path.stem}-{pictures}.png"
                picture.write_bytes(base64.b64decode(data["image/png"]))
                lines += [f"![]({picture.name})", ""]
                continue
            text = output.get("text") or data.get("text/plain") or ""
            if text:
                lines += ["```text", text.rstrip(), "```", ""]
    return _write(path.stem, "\n".join(lines))


if __name__ == "__main__":
    sys.exit(main())
