"""What a job is: the request as it was made, and the record the service keeps of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from cluster.jobs.state import JobState
from mosaic.alignment.settings import AlignSettings, resolve_align
from mosaic.errors import ParameterError
from mosaic.options import RunOptions
from mosaic.parameters import load_settings
from mosaic.settings import Settings

JOB_ID: Final = r"[0-9a-f]{16}"
"""Form of the identity of a job."""
OWNER: Final = r"[a-z0-9][a-z0-9._-]{0,31}"
"""Form of the name of a user: it is also a folder name."""
MOST_INPUTS: Final = 20_000
LOWEST_PRIORITY, HIGHEST_PRIORITY = -100, 100

Path = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00-\x1f\x7f]+$")]
Name = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
Value = bool | int | float | Annotated[str, StringConstraints(max_length=4096)] | list[float] | None


class JobRequest(BaseModel):
    """What is to be drizzled: the arguments of ``mosaic drizzle``."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "inputs": ["m51/*_flc.fits"],
                    "output": "m51/m51",
                    "parameters": {"final_scale": 0.04, "build": True},
                    "memory": "2GiB",
                }
            ]
        },
    )

    inputs: Annotated[list[Path], Field(min_length=1, max_length=MOST_INPUTS)] = Field(
        description="Files, globs, @lists, directories, association tables or s3:// URLs, under the roots "
        "of the service; relative names are looked for in each root."
    )
    output: Path = Field(
        description="Root of the product names, in your own folder under an output root (relative names) or "
        "below your name in an output bucket (s3:// URLs)."
    )
    parameters: Annotated[dict[Name, Value], Field(max_length=200)] = Field(
        default_factory=dict, description="Parameters by name, as GET /parameters describes them."
    )
    align: bool | Annotated[dict[Name, Value], Field(max_length=200)] = Field(
        default=False,
        description="Align the exposures first; parameters by name, as GET /parameters describes them.",
    )
    cores: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None, description="Processor cores; default: those of the service."
    )
    memory: (
        Annotated[int, Field(ge=1, le=2**50)] | Annotated[str, StringConstraints(max_length=32)] | None
    ) = Field(default=None, description="Memory, as 2GiB or bytes; default: that of the service for one job.")
    tile: Annotated[int, Field(ge=16, le=65536)] | None = Field(
        default=None, description="Side of an output tile, pixels."
    )
    on_error: Literal["stop", "skip"] = Field(
        default="stop", description="On an exposure that cannot be used: stop, or set it aside and go on."
    )
    restart: bool = Field(default=False, description="Discard what an earlier run left under this output.")
    priority: Annotated[int, Field(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = Field(
        default=0, description="Higher goes first; above 0 needs the role operator."
    )


class Problem(NamedTuple):
    """One thing that is wrong with a request."""

    field: str
    """Name of the parameter or of the part of the request."""
    message: str
    """What is wrong, and what is wanted."""


def check_parameters(raw: Mapping[str, object]) -> tuple[Settings | None, list[Problem]]:
    """Judge parameters with the model of ``mosaic drizzle``.

    Returns
    -------
    tuple of (Settings or None, list of Problem)
        The settings, or everything that is wrong.
    """
    try:
        return load_settings(None, (), **dict(raw)), []
    except ParameterError as error:
        whole = str(error)
    problems = [Problem(name, _unknown(name)) for name in raw if name not in Settings.model_fields]
    return None, [*problems, *_judge(Settings, raw, "parameters")] or [Problem("parameters", whole)]


def check_alignment(choice: bool | Mapping[str, object]) -> list[Problem]:  # noqa: FBT001  (a value)
    """Judge an alignment with the model of ``mosaic drizzle --align``; fields are named ``align.NAME``."""
    try:
        resolve_align(choice)
    except ParameterError as error:
        whole = str(error)
    else:
        return []
    raw = choice if isinstance(choice, Mapping) else {}
    unknown = [name for name in raw if name not in AlignSettings.model_fields]
    problems = [Problem(name, "is not a parameter of the alignment") for name in unknown]
    problems += _judge(AlignSettings, raw, "")
    return [Problem(f"align.{name}", text) for name, text in problems] or [Problem("align", whole)]


def _judge(model: type[BaseModel], raw: Mapping[str, object], whole: str) -> list[Problem]:
    """What a model finds wrong with the values it knows, each field told once."""
    problems: list[Problem] = []
    try:
        model.model_validate({name: raw[name] for name in raw if name in model.model_fields})
    except ValidationError as error:
        for part in error.errors(include_url=False, include_context=False):
            field = str(part["loc"][0]) if part["loc"] else whole
            if field not in {problem.field for problem in problems} or field == whole:
                problems.append(Problem(field, part["msg"].removeprefix("Value error, ")))
    return problems


def _unknown(name: str) -> str:
    """Say that a name is unknown, with the near ones."""
    try:
        load_settings(None, (), **{name: None})
    except ParameterError as error:
        return str(error)
    return f"{name} is not a parameter"


def check_options(request: JobRequest) -> list[Problem]:
    """Judge the parts of a request that are not parameters, with the model of ``mosaic drizzle``."""
    names = {"cores": request.cores, "memory": request.memory, "tile": request.tile}
    problems = []
    for name, value in names.items():
        try:
            RunOptions.resolve(**{name: value})
        except ParameterError as error:
            problems.append(Problem(name, str(error).partition(": ")[2] or str(error)))
    return problems


@dataclass(frozen=True, slots=True)
class Grant:
    """What a job may take of the service."""

    cores: int
    """Processor cores."""
    memory_bytes: int
    """Memory of all its processes together."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the service knows of a job."""

    id: str
    """Sixteen hexadecimal digits."""
    seq: int
    """Order of submission."""
    owner: str
    """Who submitted it."""
    state: JobState
    """Where it stands."""
    priority: int
    """Higher goes first."""
    output: str
    """Root of the product names, absolute."""
    created_s: float
    """When it was submitted, seconds since 1970."""
    grant: Grant
    """What it may take."""
    reserved_bytes: int
    """Memory set aside for it while it runs: the grant, or the stated peak once it was planned."""
    started_s: float | None = None
    """When its latest attempt began."""
    ended_s: float | None = None
    """When it ended."""
    attempts: int = 0
    """Processes that were started for it."""
    losses: int = 0
    """Processes that died one after the other without finishing a single task."""
    error: str = ""
    """Why it failed, in one line."""
    done: float = 0.0
    """Share of its tasks that are finished, 0 to 1."""


def parse_memory_size(value: int | str) -> int:
    """Bytes of a size that was checked before."""
    return RunOptions.resolve(memory=value).memory


def is_job_id(text: str) -> bool:
    """Whether a text has the form of a job's identity."""
    return re.fullmatch(JOB_ID, text) is not None


def is_owner(text: str) -> bool:
    """Whether a text can be the name of a user."""
    return re.fullmatch(OWNER, text) is not None and ".." not in text


def job_document(job: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "id": job.id,
        "seq": job.seq,
        "owner": job.owner,
        "state": str(job.state),
        "priority": job.priority,
        "output": job.output,
        "created": job.created_s,
        "started": job.started_s,
        "ended": job.ended_s,
        "attempts": job.attempts,
        "error": job.error,
        "done": round(job.done, 4),
        "cores": job.grant.cores,
        "memory": job.grant.memory_bytes,
    }
