"""`mosaic parameters`: what can be set, to what, and what it means."""

from __future__ import annotations

from typing import Annotated

import typer

from mosaic.cli.failure import one_line_errors


def parameters_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Show names that contain one of these.")
    ] = None,
) -> None:
    """List the parameters with their defaults and meanings.

    Example: mosaic parameters final_
    """
    with one_line_errors():
        from mosaic.settings import Settings

        defaults = Settings()
        wanted = [
            name for name in Settings.model_fields if not names or any(part.lower() in name for part in names)
        ]
        if not wanted:
            raise typer.BadParameter(f"no parameter contains {' or '.join(names or [])}")
        for name in wanted:
            value = getattr(defaults, name)
            shown = " ".join(f"{number:g}" for number in value) if isinstance(value, tuple) else value
            typer.echo(
                f"{name:20s} {'' if shown is None else shown!s:18s} {Settings.model_fields[name].description}"
            )
