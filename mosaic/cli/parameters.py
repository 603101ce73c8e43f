"""`mosaic parameters`: what can be set, to what, and what it means; and writing parameter files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mosaic.cli.failure import one_line_errors

if TYPE_CHECKING:
    from mosaic.settings import Settings


def parameters_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Show names that contain one of these.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("-c", "--config", metavar="FILE", help="Parameter file to start from: TOML or .cfg."),
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="Set a parameter.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write all parameters: .cfg as DrizzlePac reads it, anything else TOML."
        ),
    ] = None,
) -> None:
    """List the parameters with their values and meanings, or write them to a file.

    Example: mosaic parameters final_

    Example: mosaic parameters -c astrodrizzle.cfg -p final_scale=0.04 --save m51.toml
    """
    with one_line_errors():
        from mosaic.parameters import load_settings
        from mosaic.settings import Settings

        settings = load_settings(config, assignments or [])
        wanted = [
            name for name in Settings.model_fields if not names or any(part.lower() in name for part in names)
        ]
        if not wanted:
            raise typer.BadParameter(f"no parameter contains {' or '.join(names or [])}")
        if save is not None:
            _save(settings, config, save)
            typer.echo(str(save))
            return
        for name in wanted:
            value = getattr(settings, name)
            shown = " ".join(f"{number:g}" for number in value) if isinstance(value, tuple) else value
            typer.echo(
                f"{name:20s} {'' if shown is None else shown!s:18s} {Settings.model_fields[name].description}"
            )


def _save(settings: Settings, config: Path | None, path: Path) -> None:
    """Write a parameter file; inputs and output of the file that was read are kept."""
    from mosaic.configfile import read_config
    from mosaic.provenance import format_cfg, format_toml, write_parameter_file

    file = None if config is None else read_config(config)
    inputs, output = ((), "") if file is None else (file.inputs, file.output)
    if path.suffix.lower() == ".cfg":
        text = format_cfg(settings, ",".join(inputs), output)
    else:
        text = format_toml(settings, inputs, output, f"parameters of mosaic; use: mosaic drizzle -c {path}")
    write_parameter_file(path, text)
