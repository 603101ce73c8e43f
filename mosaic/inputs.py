"""From what the user typed to exposures and the parameters to run with.

Covers the order in which inputs are restored, read, given a new WCS and asked for their MDRIZTAB. Does
not cover any of these by itself (`mosaic.exposure`, `mosaic.headers`).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mosaic.errors import ExposureError
from mosaic.exposure.archive import manage_originals, require_replaceable
from mosaic.exposure.catalogue import Catalogue, read_catalogue
from mosaic.exposure.inputs import ExpandedInputs, InputFile, expand_inputs
from mosaic.exposure.mdriztab import read_mdriztab
from mosaic.headers.update_wcs import update_wcs
from mosaic.options import RunOptions
from mosaic.parameters import apply_table
from mosaic.places import Place, RemotePlace
from mosaic.products.empty import write_empty_product
from mosaic.products.naming import resolve_product_names
from mosaic.settings import Settings
from mosaic.solutions.staging import stage_headerlets


@dataclass(frozen=True, slots=True)
class Inputs:
    """Exposures of a run, and the parameters that go with them."""

    catalogue: Catalogue
    """Usable exposures, and what became of the others."""
    settings: Settings
    """Parameters, those of MDRIZTAB among them."""
    reader: InputReader
    """What read them."""
    expanded: ExpandedInputs
    """Files of the exposures."""

    @property
    def output(self) -> str:
        """The `output` argument; empty when not given."""
        return self.reader.output

    @property
    def product(self) -> str:
        """Product name of the association table, when that was the input."""
        return self.expanded.product

    def without(self, *errors: ExposureError) -> Inputs | None:
        """Inputs as if some exposures had never been listed; None when they are not among them."""
        names = {error.exposure for error in errors}
        # One exposure of several in a file takes the file with it.
        held = {e.path for e in self.catalogue.exposures if e.rootname in names}
        files = tuple(file for file in self.expanded.files if file.path not in held)
        if len(files) == len(self.expanded.files):
            return None
        return self.reader.read(replace(self.expanded, files=files), (*self.catalogue.rejected, *errors))

    def write_empty_product(self) -> Place | None:
        """Write the product without pixels of a run that no exposure is left to; None when there is none."""
        listed = [file.path for file in self.reader.listed]
        return write_empty_product(listed, self.output or self.product, self.reasons)

    @property
    def reasons(self) -> list[str]:
        """Why exposures were set aside, one line each."""
        return [str(error) for error in self.catalogue.rejected]


@dataclass(frozen=True, slots=True)
class InputReader:
    """Reads inputs in the way that one run wants them."""

    settings: Settings
    """Parameters as given."""
    options: RunOptions
    """What to do with bad exposures."""
    output: str
    """The `output` argument."""
    staging_dir: Path
    """Where copies of inputs go."""
    listed: tuple[InputFile, ...]
    """All files that the user named."""
    notes: tuple[str, ...]
    """What was done before reading."""

    def read(self, expanded: ExpandedInputs, rejected: tuple[ExposureError, ...] = ()) -> Inputs:
        """Read until neither the MDRIZTAB row nor the list of usable exposures changes.

        Raises
        ------
        ExposureError
            The first problem found, with on_error="stop".
        ParameterError, OutputError
            When parameters are impossible, or inputs cannot be updated in place.
        """
        settings, notes = self.settings, self.notes
        if settings.wcskey:
            staged = stage_headerlets(expanded.files, settings.wcskey, self.staging_dir)
            if staged.rejected and self.options.on_error == "stop":
                raise staged.rejected[0]
            rejected += staged.rejected
            notes += staged.notes
            expanded = replace(expanded, files=staged.files)
        while True:
            catalogue = read_catalogue(expanded, settings, self.options.on_error, self.staging_dir)
            rejected += catalogue.rejected
            usable = {exposure.path for exposure in catalogue.exposures}
            files = tuple(file for file in expanded.files if file.path in usable)
            expanded = replace(expanded, files=files, rejected=())
            if not files:
                break
            if self._wants_new_wcs and not all(file.prepared_path for file in files):
                updated = update_wcs(files, catalogue.exposures, self.staging_dir)
                if updated.rejected and self.options.on_error == "stop":
                    raise updated.rejected[0]
                rejected += updated.rejected
                notes += updated.notes
                expanded = replace(expanded, files=updated.files)
                continue
            chosen, table_notes = self._with_table(catalogue)
            if chosen == settings:
                notes += table_notes
                break
            settings = chosen
        if settings.dq_update == "inplace":
            require_replaceable(catalogue.exposures)
        if settings.updatewcs and not self._wants_new_wcs:
            reason = "wcskey chooses a WCS" if settings.wcskey else "coeffs is false"
            notes += (f"updatewcs is without effect: {reason}",)
        catalogue = replace(catalogue, rejected=rejected, notes=(*notes, *catalogue.notes))
        return Inputs(catalogue, settings, self, expanded)

    @property
    def job_folder(self) -> Path:
        """Folder of the job, in which the copies of inputs are."""
        return self.staging_dir.parent

    @property
    def _wants_new_wcs(self) -> bool:
        return self.settings.updatewcs and self.settings.coeffs and not self.settings.wcskey

    def _with_table(self, catalogue: Catalogue) -> tuple[Settings, tuple[str, ...]]:
        """Parameters with those of the MDRIZTAB row, if it is to be used."""
        if not self.settings.mdriztab:
            return self.settings, ()
        table = read_mdriztab(
            catalogue.exposures[0], len(catalogue.exposures), peer_compat=self.settings.peer_compat
        )
        return apply_table(self.settings, table.parameters, table.place)


def read_inputs(
    inputs: str | Sequence[str], output: str, settings: Settings, options: RunOptions, *, is_run: bool = True
) -> Inputs:
    """Find and read the inputs of a run.

    Parameters
    ----------
    inputs : str or sequence of str
        Files, globs, comma lists, @lists, directories, association tables, URLs.
    output : str
        Root of the product names; copies of inputs go to ``inputs`` in the job folder.
    settings : Settings
        Parameters as given.
    options : RunOptions
        What to do with bad exposures.
    is_run : bool
        Whether originals are archived and restored as the parameters say; not so for a plan.

    Raises
    ------
    ExposureError
        The first problem found, with ``options.on_error`` "stop".
    ParameterError, OutputError
        As `InputReader.read` and `manage_originals` say.
    """
    expanded = expand_inputs([inputs] if isinstance(inputs, str) else inputs)
    if expanded.rejected and options.on_error == "stop":
        raise expanded.rejected[0]
    notes: list[str] = []
    if is_run:
        notes = manage_originals(
            expanded.files,
            Path.cwd(),
            preserve=settings.preserve and settings.dq_update == "inplace",
            restore=settings.restore,
            overwrite=settings.overwrite,
        )
    staging_dir = _staging_folder(expanded, output)
    reader = InputReader(settings, options, output, staging_dir, expanded.files, tuple(notes))
    return reader.read(expanded)


def _staging_folder(expanded: ExpandedInputs, output: str) -> Path:
    """Where copies of inputs are: in the job folder, so that they last as long as it.

    For a job folder in an object store they are made on a disk and shared from there (`share_copies`).
    """
    first = expanded.files[0].path if expanded.files else "final"
    names = resolve_product_names(
        output, first, instrument="", n_exposures=len(expanded.files), association=expanded.product
    )
    folder = names.place(f"{names.rootname}.mosaic")
    if isinstance(folder, RemotePlace):
        digest = hashlib.sha256(folder.url.encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"mosaic-copies-{os.getuid()}" / digest / "inputs"
    return folder / "inputs"
