"""Where jobs may read and write: folders, buckets, and nothing else.

Covers judging every path and URL of a request with symbolic links resolved, and, in the process of a job,
every file that an input stands for. Does not cover who may do what with a job (`cluster.jobs.service`).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from mosaic.errors import ParameterError

PATH_PARAMETERS: Final = ("skyfile", "skymask_cat", "rules_file", "driz_sep_refimage", "final_refimage")
"""Parameters that name a file to read."""
ALIGN_FILES: Final = ("refimage", "refcat", "history", "cleaned")
"""Parameters of the alignment that name a file or folder to read."""
ALIGN_NAMES: Final = ("hdrfile", "hdrname", "wcsname", "outshifts", "outwcs")
"""Parameters of the alignment that become names of files beside the product."""
ALIGN_REFUSED: Final = ("exclusions", "catfile")
"""Parameters of the alignment whose file names further files."""
_BUCKET: Final = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_REMOTE: Final = re.compile(rf"s3://(?P<bucket>{_BUCKET})(?P<key>/[^\x00-\x1f\x7f]*)")
_REMOTE_OUTPUT: Final = re.compile(
    rf"s3://(?P<bucket>{_BUCKET})(?P<key>(?:/(?!\.{{1,2}}(?:/|\Z))[A-Za-z0-9_.+=@-]+)+)"
)
"""No empty part, none that goes up, no sign that a client of S3 or a shell takes for something else."""
_LONGEST_KEY: Final = 800
"""Keys have at most 1024 bytes; those of the job folder are longer than that of the product."""
_EXTENSION: Final = re.compile(r"\[[^\[\]/]*\]$")
_MAGIC: Final = re.compile(r"[*?\[]")
_LOG_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f$~]")
_REMEDY: Final = "use a path under a root of the service"


@dataclass(frozen=True, slots=True)
class Places:
    """Where jobs of one user may read and write."""

    input_roots: tuple[Path, ...]
    """Folders whose files may be read."""
    output_roots: tuple[Path, ...]
    """Folders in which products may be written, in a folder of the user's name."""
    buckets: frozenset[str] = frozenset()
    """Buckets of the object store that may be read."""
    owner: str = ""
    """User; empty: anywhere in the output roots and buckets (operators)."""
    output_buckets: tuple[str, ...] = ()
    """Buckets in which products may be written, below the user's name."""

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self:
        """Read places back from `document`."""
        return cls(
            tuple(map(Path, document["inputs"])),
            tuple(map(Path, document["outputs"])),
            frozenset(document["buckets"]),
            document["owner"],
            # Jobs that were queued by a service that knew none.
            tuple(document.get("output_buckets", ())),
        )

    def document(self) -> dict[str, Any]:
        """Places as a job folder keeps them."""
        return {
            "inputs": [str(root) for root in self.input_roots],
            "outputs": [str(root) for root in self.output_roots],
            "buckets": sorted(self.buckets),
            "owner": self.owner,
            "output_buckets": list(self.output_buckets),
        }

    def readable(self) -> tuple[Path, ...]:
        """Folders that this user may read."""
        return (*self.input_roots, *self.own_folders())

    def own_folders(self) -> tuple[Path, ...]:
        """Folders that this user may write to."""
        return tuple(root / self.owner for root in self.output_roots)

    def own_urls(self) -> tuple[str, ...]:
        """URLs below which this user may write."""
        return tuple(f"s3://{bucket}{self._own_key()}" for bucket in self.output_buckets)

    def _own_key(self) -> str:
        return f"/{self.owner}/" if self.owner else "/"

    def _is_own(self, bucket: str, key: str) -> bool:
        return bucket in self.output_buckets and key.startswith(self._own_key())

    def resolve_input(self, entry: str) -> str:
        """Absolute form of an input, proved to lie within the roots.

        Parameters
        ----------
        entry : str
            File, glob, directory, association table or URL; ``@`` before it for a list of them.

        Raises
        ------
        ParameterError
            When it leads anywhere else.
        """
        at, name = ("@", entry[1:]) if entry.startswith("@") else ("", entry)
        if "://" in name or "::" in name:
            return at + self._resolve_url(name)
        _refuse_odd(name)
        return at + str(self._resolve_local(name))

    def _resolve_url(self, url: str) -> str:
        match = _REMOTE.fullmatch(url)
        if match is None or "::" in url or ".." in url.split("/"):
            raise ParameterError(f"{_shown(url)}: only s3://BUCKET/KEY is read here; {_REMEDY}")
        bucket = match["bucket"]
        if bucket not in self.buckets and not self._is_own(bucket, match["key"]):
            whom = "not open to this service"
            if bucket in self.output_buckets:
                whom = f"open to you below s3://{bucket}{self._own_key()} only"
            raise ParameterError(f"{_shown(url)}: the bucket {bucket} is {whom}")
        return url

    def _resolve_local(self, name: str) -> Path:
        roots = self.readable()
        # Relative names belong to the first root that has something under them.
        tried = [Path(name)] if Path(name).is_absolute() else [root / name for root in roots]
        inside = []
        for path in tried:
            is_readable, is_there = self._is_readable(path), _stands_for_something(path)
            if is_readable and is_there:
                return path
            if is_there:
                break
            inside += [path] if is_readable else []
        else:
            if inside:
                return inside[0]
        raise ParameterError(f"{_shown(name)} lies outside the folders that may be read; {_REMEDY}")

    def _is_readable(self, path: Path) -> bool:
        """Whether a path lies in a root: as written, with links resolved, and all that a pattern matches."""
        if ".." in path.parts:
            return False
        roots = [Path(os.path.realpath(root)) for root in self.readable()]
        fixed = Path(_fixed_part(str(path)))
        matches = glob.glob(str(path)) if _MAGIC.search(str(path)) else [str(path)]  # noqa: PTH207
        candidates = [fixed, *map(Path, matches)]
        return all(_is_below(Path(os.path.realpath(candidate)), roots) for candidate in candidates)

    def resolve_output(self, name: str) -> str:
        """Absolute form of an output root, a path or a URL, proved to lie where this user may write.

        Relative names belong to the user's folder in the first output root; to the first bucket where there
        is no root.

        Raises
        ------
        ParameterError
            When it does not.
        """
        if "://" in name or "::" in name:
            return self._resolve_output_url(name)
        _refuse_odd(name)
        given = Path(name)
        if not self.output_roots and self.output_buckets and not given.is_absolute():
            return self._resolve_output_url(self.own_urls()[0] + name)
        if ".." in given.parts or not self.output_roots or name.endswith("/") or _MAGIC.search(name):
            raise ParameterError(f"{_shown(name)} cannot be an output; {_REMEDY}")
        path = given if given.is_absolute() else self.own_folders()[0] / given
        roots = [Path(os.path.realpath(root)) for root in self.own_folders()]
        resolved = Path(os.path.realpath(path.parent)) / path.name
        if not any(root in resolved.parents for root in roots) or resolved.is_symlink():
            raise self._outside(name)
        return str(resolved)

    def _resolve_output_url(self, url: str) -> str:
        match = _REMOTE_OUTPUT.fullmatch(url)
        if match is None or len(match["key"]) > _LONGEST_KEY:
            raise ParameterError(
                f"{_shown(url)}: products are written to folders, or to s3://BUCKET/KEY with a KEY of "
                f"letters, digits and _ . + = @ - in parts between single slashes; {_REMEDY}"
            )
        if not self._is_own(match["bucket"], match["key"]):
            raise self._outside(url)
        return url

    def _outside(self, name: str) -> ParameterError:
        allowed = ", ".join((*map(str, self.own_folders()), *self.own_urls()))
        return ParameterError(f"{_shown(name)} lies outside the folder that may be written: {allowed}")

    def resolve_parameters(self, parameters: Mapping[str, object]) -> dict[str, object]:
        """Parameters whose file names are absolute and proved to lie within the roots.

        Raises
        ------
        ParameterError
            Naming the parameter that leads elsewhere.
        """
        resolved = self._resolve_files(parameters, PATH_PARAMETERS)
        user_sky = resolved.get("skyuser")
        if isinstance(user_sky, str) and user_sky.startswith("@"):
            resolved["skyuser"] = self.resolve_input(user_sky)
        log = resolved.get("runfile")
        if isinstance(log, str) and log and not _LOG_NAME.fullmatch(log):
            raise ParameterError(f"runfile: {_shown(log)} must be a plain file name here")
        return resolved

    def resolve_alignment(
        self,
        choice: bool | Mapping[str, object],  # noqa: FBT001  (a value)
    ) -> bool | dict[str, object]:
        """Parameters of an alignment whose file names are absolute and proved to lie within the roots.

        Raises
        ------
        ParameterError
            Naming the parameter that leads elsewhere.
        """
        if isinstance(choice, bool):
            return choice
        for name in ALIGN_REFUSED:
            if choice.get(name) not in {None, ""}:
                raise ParameterError(f"{name}: files that name other files are not read here; leave it out")
        for name in ALIGN_NAMES:
            value = choice.get(name)
            if isinstance(value, str) and ("/" in value or value.startswith(".") or _FORBIDDEN.search(value)):
                raise ParameterError(f"{name}: {_shown(value)} must be a plain name here")
        return self._resolve_files(choice, ALIGN_FILES)

    def _resolve_files(self, parameters: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
        """Make the files that some parameters name absolute; an extension in brackets stays."""
        resolved = dict(parameters)
        for name in names:
            value = resolved.get(name)
            if isinstance(value, str) and value.strip():
                suffix = match[0] if (match := _EXTENSION.search(value)) else ""
                try:
                    resolved[name] = self.resolve_input(value.removesuffix(suffix)) + suffix
                except ParameterError as error:
                    raise ParameterError(f"{name}: {error}") from None
        return resolved

    def prove_files(self, paths: Iterable[str]) -> None:
        """Prove that files lie within the roots once lists, tables and links are followed.

        Raises
        ------
        ParameterError
            Naming the first that does not.
        """
        roots = [Path(os.path.realpath(root)) for root in self.readable()]
        for path in paths:
            if "://" in path or "::" in path:
                self._resolve_url(path)
            elif not _is_below(Path(os.path.realpath(path)), roots):
                raise ParameterError(f"{_shown(path)} lies outside the folders that may be read; {_REMEDY}")


def is_bucket(text: str) -> bool:
    """Whether a text can be the name of a bucket."""
    return re.fullmatch(_BUCKET, text) is not None


def _is_below(path: Path, roots: Iterable[Path]) -> bool:
    return any(path == root or root in path.parents for root in roots)


def _fixed_part(path: str) -> str:
    """Part of a path before the first component with a pattern."""
    parts = list(_until_magic(path.split("/")))
    return "/".join(parts) or "/"


def _until_magic(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        if _MAGIC.search(part):
            return
        yield part


def _stands_for_something(path: Path) -> bool:
    return os.path.lexists(path) or bool(glob.glob(str(path)))  # noqa: PTH207  (absolute patterns)


def _refuse_odd(name: str) -> None:
    """Refuse names that the shell or the file system would take for something else."""
    if not name.strip() or _FORBIDDEN.search(name) or "," in name or len(name) > 4096:
        raise ParameterError(f"{_shown(name)} is not a plain path; {_REMEDY}")


def _shown(text: str) -> str:
    """A text of the user within a message: short, and without control characters."""
    return repr(text if len(text) <= 120 else text[:117] + "...")
