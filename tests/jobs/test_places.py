"""Inputs and outputs stay within the roots, whatever they are called and whatever links lead to."""

from __future__ import annotations

import glob
import json
import os
import posixpath
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.jobs.places import ALIGN_FILES, ALIGN_NAMES, ALIGN_REFUSED, PATH_PARAMETERS, Places
from cluster.jobs.run_one import prove_inputs
from mosaic.alignment.settings import AlignSettings
from mosaic.errors import ParameterError
from mosaic.settings import Settings

OUTSIDE = (
    "lies outside|cannot be an output|only s3://|not open to this service|open to you below|not a plain path"
    "|written to folders"
)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("data/m51", "out/vera", "out/edwin", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/m51/a_flc.fits", "data/m51/b_flc.fits", "elsewhere/secret.fits", "out/vera/own.fits"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "data/leak.fits").symlink_to(tmp_path / "elsewhere/secret.fits")
    (tmp_path / "data/way_out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/inside").symlink_to(tmp_path / "data/m51")
    (tmp_path / "out/vera/way_out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out/edwin/theirs.fits").write_bytes(b"")
    return tmp_path


@pytest.fixture
def places(base: Path) -> Places:
    return Places((base / "data",), (base / "out",), frozenset({"open-bucket"}), "vera", ("products", "more"))


def test_names_under_the_roots_become_absolute(places: Places, base: Path) -> None:
    data = base / "data"
    for given_name, wanted in {
        "m51/a_flc.fits": data / "m51/a_flc.fits",
        "m51/*_flc.fits": data / "m51/*_flc.fits",
        "m51": data / "m51",
        "inside/a_flc.fits": data / "inside/a_flc.fits",
        f"{data}/m51/a_flc.fits": data / "m51/a_flc.fits",
        "own.fits": base / "out/vera/own.fits",
        "not/there.fits": data / "not/there.fits",
    }.items():
        assert places.resolve_input(given_name) == str(wanted)
    assert places.resolve_input("@m51/list.txt") == f"@{data}/m51/list.txt"
    assert places.resolve_input("s3://open-bucket/a/b_flc.fits") == "s3://open-bucket/a/b_flc.fits"
    for url in ("s3://products/vera/m51_drc.fits", "s3://products/vera/*_drc.fits", "s3://products/vera/"):
        assert places.resolve_input(url) == url
    assert places.resolve_output("m51") == str(base / "out/vera/m51")
    for url in ("s3://products/vera/m51", "s3://more/vera/a/b.c/..d/m=51+@x-1_drc.fits"):
        assert places.resolve_output(url) == url
    assert places.resolve_output("new/folder/m51") == str(base / "out/vera/new/folder/m51")
    assert places.resolve_output(str(base / "out/vera/m51")) == str(base / "out/vera/m51")


HOSTILE = [
    "../elsewhere/secret.fits",
    "m51/../../elsewhere/secret.fits",
    "m51/..",
    "/etc/passwd",
    "/",
    "~/x.fits",
    "$HOME/x.fits",
    "leak.fits",
    "*.fits",
    "way_out/secret.fits",
    "way_out/*",
    "way*/secret.fits",
    "@/etc/passwd",
    "@../elsewhere/secret.fits",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "local:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "https://example.org/a.fits",
    "ftp://example.org/a.fits",
    "gopher://localhost:6379/_x",
    "s3://other-bucket/a.fits",
    "s3://open-bucket.evil/a.fits",
    "s3://open-bucket@evil/a.fits",
    "s3://products/edwin/a.fits",
    "s3://products/a.fits",
    "s3://products/",
    "s3://products/vera",
    "s3://products/vera2/a.fits",
    "s3://products/v*/a.fits",
    "s3://products/*/a.fits",
    "s3://products//vera/a.fits",
    "s3://products/vera/../edwin/a.fits",
    "@s3://products/edwin/list.txt",
    "s3://evil:80/open-bucket/a.fits",
    "s3://open-bucket/../other/a.fits",
    "s3://OPEN-BUCKET/a.fits",
    "simplecache::s3://open-bucket/a.fits",
    "zip://a.fits::file:///etc/passwd",
    "m51/a_flc.fits,/etc/passwd",
    "m51/a\x00.fits",
    "m51/a\n.fits",
    "m51/a\r\nX-Header: 1",
    " ",
    "x" * 5000,
    "../edwin/theirs.fits",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_leads_elsewhere_is_refused_as_input(places: Places, name: str) -> None:
    with pytest.raises(ParameterError, match=OUTSIDE) as caught:
        places.resolve_input(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../edwin/m",
            "..",
            ".",
            "/",
            "/etc/m",
            "a/../../m",
            "way_out/m",
            "m/",
            "m*",
            "m\x00",
            "m\n",
            "~/m",
        ),
        *("s3://open-bucket/m", "file:///tmp/m", "memory://m", "a::b", "", " ", "x" * 5000),
        *("s3://open-bucket/vera/m", "s3://products/edwin/m", "s3://products/m", "s3://products/vera"),
        *("s3://products", "s3://products/", "s3://products/vera/", "s3://products/vera/m/", "s3:///vera/m"),
        *("s3://products//vera/m", "s3://products/vera//m", "s3://products/vera/../edwin/m"),
        *("s3://products/vera/..", "s3://products/vera/./m", "s3://products/vera/a/.", "s3://products/../m"),
        *("s3://PRODUCTS/vera/m", "S3://products/vera/m", "s3a://products/vera/m"),
        *("s3://products/Vera/m", "s3://products/vera2/m", "s3://products/vera%2f..%2fedwin/m"),
        *("s3://user:pass@products/vera/m", "s3://products:80/vera/m", "s3://products.evil/vera/m"),
        *("s3://products/vera/m?versionId=1", "s3://products/vera/m#x", "s3://products/vera/m*"),
        *(
            "s3://products/vera/[m]",
            "s3://products/vera/{m}",
            "s3://products/vera/$HOME",
            "s3://products/vera/~",
        ),
        *(
            "s3://products/vera/m\n",
            "s3://products/vera/m\x00",
            "s3://products/vera/a b",
            "s3://products/vera/m,n",
        ),
        *(
            "s3://products/vera/m\r\nX-Header: 1",
            "s3://products/vera\\..\\edwin/m",
            "s3://products/vera/\u2025/m",
        ),
        *("simplecache::s3://products/vera/m", "s3://products/vera/m::s3://products/edwin/m"),
        *(
            "zip://m::s3://products/vera/z",
            "s3://products/vera/http://169.254.169.254/m",
            "gs://products/vera/m",
        ),
        *("http://products/vera/m", "s3://products/vera/" + "x" * 800, "@s3://products/vera/m"),
    ],
)
def test_what_leads_elsewhere_is_refused_as_output(places: Places, name: str) -> None:
    with pytest.raises(ParameterError, match=OUTSIDE):
        places.resolve_output(name)


def test_another_users_products_cannot_be_read_or_written(places: Places, base: Path) -> None:
    for name in ("theirs.fits", str(base / "out/edwin/theirs.fits")):
        try:
            assert "edwin" not in places.resolve_input(name)
        except ParameterError:
            continue
    with pytest.raises(ParameterError, match="lies outside the folder that may be written"):
        places.resolve_output(str(base / "out/edwin/m"))
    operator = Places((base / "data",), (base / "out",))
    assert operator.resolve_output(str(base / "out/edwin/m")) == str(base / "out/edwin/m")
    operator = Places((), (), output_buckets=("products",))
    for url in ("s3://products/edwin/m", "s3://products/m"):
        assert operator.resolve_output(url) == operator.resolve_input(url) == url
    with pytest.raises(ParameterError, match="lies outside"):
        operator.resolve_output("s3://open-bucket/m")


def test_where_there_is_no_folder_relative_outputs_go_to_the_first_bucket(base: Path) -> None:
    places = Places((base / "data",), (), owner="vera", output_buckets=("products", "more"))
    assert places.resolve_output("deep/m51") == "s3://products/vera/deep/m51"
    assert places.resolve_output("s3://more/vera/m51") == "s3://more/vera/m51"
    for bad in ("../edwin/m", "a//m", "m/", "/etc/m", str(base / "out/vera/m"), "a b", "m*", "~/m"):
        with pytest.raises(ParameterError, match=OUTSIDE):
            places.resolve_output(bad)


def test_places_are_read_back_as_they_were_kept(places: Places) -> None:
    document = places.document()
    assert Places.of_document(json.loads(json.dumps(document))) == places
    del document["output_buckets"]
    assert Places.of_document(document) == replace(places, output_buckets=())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            ["..", ".", "m51", "way_out", "leak.fits", "*", "?", "[a]", "", "etc", "a_flc.fits", "@", "/"]
        )
        | st.text(max_size=4),
        max_size=6,
    )
)
def test_whatever_is_accepted_lies_in_a_root(places: Places, base: Path, parts: list[str]) -> None:
    name = "/".join(parts)
    roots = [os.path.realpath(base / folder) for folder in ("data", "out/vera")]
    try:
        accepted = places.resolve_input(name)
    except ParameterError:
        pass
    else:
        path = accepted.removeprefix("@")
        for match in glob.glob(path) or [path]:  # noqa: PTH207  (as the code under test does not)
            real = os.path.realpath(match)
            assert any(real == root or real.startswith(root + "/") for root in roots), (name, real)
    try:
        output = places.resolve_output(name)
    except ParameterError:
        return
    assert os.path.realpath(output).startswith(str(base / "out/vera/"))


@pytest.mark.parametrize("name", PATH_PARAMETERS)
def test_parameters_that_name_files_are_confined_too(places: Places, base: Path, name: str) -> None:
    resolved = places.resolve_parameters({name: "m51/a_flc.fits[sci,1]", "build": True})
    assert resolved == {name: f"{base}/data/m51/a_flc.fits[sci,1]", "build": True}
    for bad in ("/etc/passwd", "../x", "file:///etc/passwd", "leak.fits[1]"):
        with pytest.raises(ParameterError, match=f"^{name}: "):
            places.resolve_parameters({name: bad})


def test_the_log_is_a_plain_name_and_a_list_of_skies_is_confined(places: Places) -> None:
    assert places.resolve_parameters({"runfile": "run.log", "skyuser": "MDRIZSKY"})["runfile"] == "run.log"
    for bad in ("/tmp/x.log", "../x.log", "a/b.log", ".hidden", "a\nb"):
        with pytest.raises(ParameterError, match=r"runfile: .* must be a plain file name"):
            places.resolve_parameters({"runfile": bad})
    with pytest.raises(ParameterError, match=OUTSIDE):
        places.resolve_parameters({"skyuser": "@/etc/passwd"})


def test_every_parameter_that_names_a_file_is_known_to_the_places() -> None:
    """A parameter whose description speaks of a file, a catalogue or an image has to be judged."""
    judged = {*PATH_PARAMETERS, "runfile", "skyuser"}
    for name, field in Settings.model_fields.items():
        text = f"{name} {field.description}".lower()
        if "str" in str(field.annotation) and any(
            word in text for word in ("file", "catalog", "image whose")
        ):
            assert name in judged or name == "wcskey", f"{name}: {field.description}"


def test_an_alignment_is_confined_too(places: Places, base: Path) -> None:
    assert places.resolve_alignment(True) is True
    assert places.resolve_alignment({"refcat": "m51/a_flc.fits", "wcsname": "TWEAK", "sigma": 2.0}) == {
        "refcat": f"{base}/data/m51/a_flc.fits",
        "wcsname": "TWEAK",
        "sigma": 2.0,
    }
    for name, bad in (
        *((name, "/etc/passwd") for name in (*ALIGN_FILES, *ALIGN_NAMES)),
        *((name, "../x") for name in (*ALIGN_FILES, *ALIGN_NAMES)),
        *((name, "m51/list.txt") for name in ALIGN_REFUSED),
    ):
        with pytest.raises(ParameterError, match=f"^{name}: "):
            places.resolve_alignment({name: bad})
    judged = {*ALIGN_FILES, *ALIGN_NAMES, *ALIGN_REFUSED}
    texts = {name for name, field in AlignSettings.model_fields.items() if field.annotation is str}
    only_words = {"author", "descrip", "catalog", *(name for name in texts if name.endswith("col"))}
    assert texts - only_words == judged


def test_lists_tables_and_links_are_followed_before_anything_is_read(places: Places, base: Path) -> None:
    data = base / "data"
    (data / "good.txt").write_text("m51/a_flc.fits\n# nothing\nm51/b_flc.fits 2.0\n")
    prove_inputs([f"@{data}/good.txt"], places)
    for number, line in enumerate(
        (
            "/etc/passwd",
            "../elsewhere/secret.fits",
            "http://localhost/x.fits",
            "s3://other-bucket/x",
            "leak.fits",
        )
    ):
        listing = data / f"bad{number}.txt"
        listing.write_text(f"m51/a_flc.fits\n{line}\n")
        with pytest.raises(ParameterError, match=OUTSIDE):
            prove_inputs([f"@{listing}"], places)
    with pytest.raises(ParameterError, match="lies outside"):
        prove_inputs([f"{data}/leak.fits"], places)


def test_urls_that_are_accepted_lie_below_the_name_of_the_user(places: Places) -> None:
    """Whatever is put together from parts: one bucket, one prefix, no way up, one spelling."""

    @given(
        st.lists(
            st.sampled_from(
                ["", ".", "..", "vera", "edwin", "products", "m", "*", "%2e%2e", "s3:", "::", "@"]
            )
            | st.text(max_size=3),
            max_size=6,
        )
    )
    def is_below(parts: list[str]) -> None:
        url = "s3://products/" + "/".join(parts)
        try:
            output = places.resolve_output(url)
        except ParameterError:
            return
        assert output == url == posixpath.normpath(url).replace("s3:/", "s3://")
        assert url.startswith("s3://products/vera/")

    is_below()
