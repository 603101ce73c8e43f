"""From what the user names to a product: associations, tables of parameters, copies, archives, empty runs."""

from __future__ import annotations

import gzip
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from mosaic import errors, pipeline
from mosaic.inputs import read_inputs
from mosaic.options import RunOptions
from mosaic.parameters import apply_table, load_settings
from mosaic.settings import Settings
from mosaic.simulate import simulate
from tests.support.mdriztab import write_mdriztab

QUICK = {"runfile": "", "static": False, "skysub": False, "median": False, "blot": False, "driz_cr": False}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = simulate(
        tmp_path_factory.mktemp("originals"),
        instrument="acs/wfc",
        exposures=2,
        pattern="line",
        chip_shape=(50, 80),
        n_stars=8,
        n_galaxies=0,
        seed=11,
        workers=1,
    )
    return list(made.files)


@pytest.fixture
def inputs(originals: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [Path(shutil.copy(path, tmp_path / path.name)) for path in originals]


def _options(**options: Any) -> RunOptions:
    return RunOptions.resolve(scheduler="serial", memory=2 << 30, **options)


def _run(inputs: list[Path] | str, output: str = "m", /, **parameters: Any) -> pipeline.Result:
    options = _options(
        **{name: parameters.pop(name) for name in ("on_error", "restart") if name in parameters}
    )
    named = inputs if isinstance(inputs, str) else [str(path) for path in inputs]
    return pipeline.drizzle(named, output, options=options, **{**QUICK, **parameters})


def _pixels(result: pipeline.Result) -> list[np.ndarray]:
    return [fits.getdata(path) for path in result.products]


def _edit(path: Path, **primary: Any) -> None:
    with fits.open(path, mode="update") as hdul:
        hdul[0].header.update(primary)


def test_an_association_names_its_product(inputs: list[Path]) -> None:
    rows = [(path.name.split("_")[0], "EXP-DTH") for path in inputs] + [("J000010", "PROD-DTH")]
    columns = [
        fits.Column("MEMNAME", "14A", array=np.array([row[0].upper() for row in rows])),
        fits.Column("MEMTYPE", "14A", array=np.array([row[1] for row in rows])),
        fits.Column("MEMPRSNT", "L", array=np.array([True] * len(rows))),
    ]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto("j000010_asn.fits")
    result = _run("j000010_asn.fits", "", build=True)
    assert [path.name for path in result.products] == ["j000010_drc.fits"]
    assert result.job_folder.name == "j000010.mosaic"
    assert [path.name for path in _run("j000010_asn.fits", "other", build=True).products] == [
        "other_drc.fits"
    ]


def _settings(**keywords: Any) -> Settings:
    return load_settings(None, (), mdriztab=True, **keywords)


def test_a_table_ranks_above_the_file_and_below_keywords(tmp_path: Path) -> None:
    config = tmp_path / "p.cfg"
    config.write_text("mdriztab = yes\nfinal_pixfrac = 0.9\nfinal_units = counts\ncombine_nlow = 1\n")
    given = load_settings(config, ("final_kernel=turbo",), final_scale=0.06)
    table = {"final_pixfrac": 0.8, "final_kernel": "point", "final_scale": 0.1, "driz_sep_scale": 0.2}
    settings, notes = apply_table(given, table, "MDRIZTAB t, row 1")
    assert (settings.final_pixfrac, settings.final_kernel, settings.final_scale) == (0.8, "turbo", 0.06)
    assert (settings.final_units, settings.combine_nlow) == ("counts", 1)
    # A keyword switches its frame on, an entry of the table does not.
    assert (settings.final_wcs, settings.driz_sep_wcs, settings.driz_sep_scale) == (True, False, 0.2)
    assert notes == ()


def test_entries_of_a_table_that_are_not_used_are_told() -> None:
    table = {"novelty": 1, "restore": True, "combine_nlow": None, "final_rot": None, "skylower": None}
    settings, notes = apply_table(_settings(combine_nlow=2), {**table, "build": True}, "T")
    assert settings.build
    assert notes == (
        "T: unknown parameter novelty is ignored",
        "T: restore cannot be set by a table and is ignored",
    )
    _, notes = apply_table(_settings(), table, "T")
    assert "T: combine_nlow is blank, 0 is kept" in notes


def test_an_impossible_entry_of_a_table_is_named() -> None:
    with pytest.raises(errors.ParameterError, match=r"T: .*final_kernel = 'round'.*; correct it or give"):
        apply_table(_settings(), {"final_kernel": "round"}, "T")
    with pytest.raises(errors.ParameterError, match=r"T: .*final_outny is missing"):
        apply_table(_settings(), {"final_outnx": 20}, "T")


def test_a_run_takes_the_row_for_the_exposures_that_can_be_used(inputs: list[Path]) -> None:
    rows = [("ANY", 1), ("ANY", 2)]
    write_mdriztab(Path("t_mdz.fits"), rows, final_units=("8A", ["counts", "cps"]), novelty=("J", [1, 1]))
    for path in inputs:
        _edit(path, MDRIZTAB="jref$t_mdz.fits")
    settings = _settings(**QUICK)
    both = read_inputs([str(path) for path in inputs], "m", settings, _options())
    assert both.settings.final_units == "cps"
    assert "MDRIZTAB t_mdz.fits, row 2: unknown parameter novelty is ignored" in both.catalogue.notes
    inputs[1].write_bytes(inputs[1].read_bytes()[:9000])
    one = read_inputs([str(path) for path in inputs], "m", settings, _options(on_error="skip"))
    assert one.settings.final_units == "counts"
    left = both.without(
        errors.PixelError(both.catalogue.exposures[1].rootname, "no usable pixel", "remove it")
    )
    assert left is not None
    assert left.settings.final_units == "counts"


def test_a_table_decides_what_is_read_of_the_inputs(inputs: list[Path]) -> None:
    write_mdriztab(Path("t_mdz.fits"), [("ANY", 1)], group=("8A", ["sci,2"]), exptime=("8A", ["7.5"]))
    for path in inputs:
        _edit(path, MDRIZTAB="t_mdz.fits")
    read = read_inputs([str(path) for path in inputs], "m", _settings(), _options())
    assert {(chip.extver, chip.exptime_s) for e in read.catalogue.exposures for chip in e.chips} == {(2, 7.5)}


def test_a_table_that_is_missing_stops_the_run(inputs: list[Path]) -> None:
    _edit(inputs[0], MDRIZTAB="jref$t_mdz.fits")
    _edit(inputs[1], MDRIZTAB="jref$t_mdz.fits")
    with pytest.raises(errors.MissingFileError, match=r"MDRIZTAB jref\$t_mdz.fits not found"):
        _run(inputs, mdriztab=True)


def test_an_alternate_wcs_makes_the_same_product_as_when_it_is_the_primary(inputs: list[Path]) -> None:
    expected = _pixels(_run(inputs, "p"))
    for path in inputs:
        with fits.open(path, mode="update") as hdul:
            for version in (1, 2):
                header = hdul["SCI", version].header
                for word in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
                    header[word + "K"] = header[word]
                header["NMATCH"] = 99
                header["WCSNAMEK"] = "kept"
                header["CRVAL1"] += 0.3 / 3600.0
    before = [path.read_bytes() for path in inputs]
    singles = {"median": True, "blot": True, "clean": False}
    result = _run(inputs, "k", wcskey="kept", **singles)
    for found, wanted in zip(_pixels(result), expected, strict=False):
        np.testing.assert_array_equal(found, wanted)
    assert fits.getheader(result.products[0])["WCSNAME"] == "kept"
    with fits.open(inputs[0]) as hdul:
        place = hdul["SCI", 1].header["CRVAL1K"]
    (blot,) = (path for path in result.products if path.name == inputs[0].name[:9] + "_sci1_blt.fits")
    assert fits.getheader(blot)["CRVAL1"] == place
    assert "NMATCH" not in fits.getheader(blot)
    assert [path.read_bytes() for path in inputs] == before
    with pytest.raises(errors.MetadataError, match=r"wcskey='Z'.*those are: K \(kept\)"):
        _run(inputs, "z", wcskey="Z")


@pytest.mark.parametrize("reason", [{"coeffs": False}, {"wcskey": "O"}])
def test_updatewcs_gives_way_with_a_note(inputs: list[Path], reason: dict[str, Any]) -> None:
    settings = load_settings(None, (), updatewcs=True, **reason)
    for path in inputs:
        with fits.open(path, mode="update") as hdul:
            for version in (1, 2):
                header = hdul["SCI", version].header
                for word in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2", "CD1_1", "CD1_2", "CD2_1", "CD2_2"):
                    header[word + "O"] = header[word]
    read = read_inputs([str(path) for path in inputs], "m", settings, _options())
    assert any(note.startswith("updatewcs is without effect: ") for note in read.catalogue.notes)
    assert all(file.prepared_path == "" for file in read.expanded.files)


def test_compressed_inputs_survive_a_restart(inputs: list[Path]) -> None:
    packed = []
    for path in inputs:
        packed.append(path.with_name(path.name + ".gz"))
        packed[-1].write_bytes(gzip.compress(path.read_bytes(), 1))
    expected = _pixels(_run(inputs, "p"))
    for _ in range(2):
        for found, wanted in zip(_pixels(_run(packed, "g", restart=True)), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_originals_are_kept_before_flags_are_written_and_come_back(inputs: list[Path]) -> None:
    before = [path.read_bytes() for path in inputs]
    _run(inputs, dq_update="inplace", resetbits=0, driz_cr=True, blot=True, median=True, crbit=32768)
    kept = [Path("OrIg_files") / path.name for path in inputs]
    assert [path.read_bytes() for path in kept] == before
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o444 for path in kept)
    n_added = 0
    for path, old in zip(inputs, kept, strict=True):
        for version in (1, 2):
            # Bit 32768 is the sign of the stored integers: only it may have been added, and none lost.
            new, was = (fits.getdata(name, ("DQ", version)).view(">u2") for name in (path, old))
            assert set(np.unique(new ^ was)) <= {0, 32768}
            assert not (was & ~new).any()
            n_added += np.count_nonzero(new != was)
    assert n_added > 0
    _run(inputs, "again", restore=True)
    assert [path.read_bytes() for path in inputs] == before


def test_nothing_is_archived_when_nothing_is_modified(inputs: list[Path]) -> None:
    _run(inputs, preserve=True)
    assert not Path("OrIg_files").exists()


def test_reset_bits_count_as_good_and_are_cleared_in_copies(inputs: list[Path]) -> None:
    where = (slice(10, 20), slice(30, 40))
    cleared = [Path(shutil.copy(path, f"c{path.name}")) for path in inputs]
    for path, other in zip(inputs, cleared, strict=True):
        with fits.open(path, mode="update") as hdul, fits.open(other, mode="update") as same:
            hdul["DQ", 1].data[where] |= 512 | 64
            for version in (1, 2):
                same["DQ", version].data &= ~(512 | 64)
    clean = _pixels(_run(cleared, "p", resetbits=0))
    assert not np.array_equal(clean[1], _pixels(_run(inputs, "f", resetbits=64))[1])
    result = _run(inputs, "r", resetbits="64,512", dq_update="copy")
    for found, wanted in zip(_pixels(result)[:3], clean, strict=True):
        np.testing.assert_array_equal(found, wanted)
    for path in result.products[3:]:
        original = next(name for name in inputs if name.name == path.name)
        for version in (1, 2):
            expected = fits.getdata(original, ("DQ", version)) & ~(64 | 512)
            np.testing.assert_array_equal(fits.getdata(path, ("DQ", version)), expected)


def test_inputs_that_cannot_be_replaced_stop_the_run_before_it_begins(inputs: list[Path]) -> None:
    inputs[1].chmod(0o444)
    with pytest.raises(errors.OutputError, match=rf"{inputs[1].name} is read-only"):
        _run(inputs, dq_update="inplace")
    assert not Path("m.mosaic/plan.json").exists()
    with pytest.raises(errors.ParameterError, match="updatewcs works on copies"):
        _run(inputs, dq_update="inplace", updatewcs=True)


SINGLES = ("_single_sci.fits", "_single_wht.fits")


def test_compressed_separate_products_hold_the_same_pixels(inputs: list[Path]) -> None:
    steps = {"driz_separate": True, "median": True, "clean": False}
    plain = {path.name: path for path in _run(inputs, "p", **steps).products}
    singles = {name: fits.getdata(path) for name, path in plain.items() if name.endswith(SINGLES)}
    for path in _run(inputs, "c", driz_sep_compress=True, **steps).products:
        if path.name.endswith(SINGLES):
            with fits.open(path) as hdul:
                assert isinstance(hdul[1], fits.CompImageHDU)
                np.testing.assert_array_equal(hdul[1].data, singles.pop(path.name))
                assert "CRVAL1" in hdul[1].header
    assert not singles


def test_a_run_without_usable_input_is_an_error_and_leaves_a_product_without_pixels(
    inputs: list[Path],
) -> None:
    _edit(inputs[0], EXPTIME=0.0)
    with fits.open(inputs[1], mode="update") as hdul:
        for version in (1, 2):
            hdul["SCI", version].data[:] = np.nan
    message = r"no exposure is left to drizzle: .*EXPTIME is 0 s.*no usable pixel"
    with pytest.raises(errors.ParameterError, match=message):
        _run(inputs, on_error="skip")
    with fits.open("m_drz.fits") as hdul:
        assert [(hdu.name, hdu.data) for hdu in hdul[1:]] == [("SCI", None), ("WHT", None), ("CTX", None)]
        assert hdul[0].header["PRODSTAT"] == "EMPTY"


def test_a_plan_without_usable_input_writes_nothing(inputs: list[Path]) -> None:
    for path in inputs:
        _edit(path, EXPTIME=0.0)
    before = sorted(Path().iterdir())
    with pytest.raises(errors.ParameterError, match="no exposure is left"):
        pipeline.plan([str(path) for path in inputs], "m", options=_options(on_error="skip"))
    assert sorted(Path().iterdir()) == before


def test_inputs_behind_urls_make_the_same_products(inputs: list[Path]) -> None:
    import fsspec  # noqa: PLC0415

    store = fsspec.filesystem("memory")
    for path in inputs:
        store.pipe(f"/urls/{path.name}", path.read_bytes())
    extras = {"driz_cr_corr": True, "driz_cr": True, "median": True, "blot": True, "clean": False}
    local = _bytes_of_images(_run([f"file://{path}" for path in inputs], "p", dq_update="copy", **extras))
    remote = _run("memory://urls/*_flc.fits", "p", restart=True, dq_update="copy", **extras)
    store.rm("/urls", recursive=True)
    assert _bytes_of_images(remote) == local
    assert len(local) > 20


def _bytes_of_images(result: pipeline.Result) -> dict[tuple[str, int], bytes]:
    found = {}
    for path in result.products:
        with fits.open(path) as hdul:
            images = [(index, hdu.data) for index, hdu in enumerate(hdul) if hdu.is_image]
            found |= {(path.name, index): data.tobytes() for index, data in images if data is not None}
    return found


def _strip_distortion(hdul: fits.HDUList) -> None:
    for version in (1, 2):
        header = hdul["SCI", version].header
        distortion = re.compile(r"[AB]_(ORDER|DMAX|\d_\d)|CPDIS\d|CPERR\d|DP\d.*|D2IM.*")
        for keyword in [card.keyword for card in header.cards if distortion.fullmatch(card.keyword)]:
            header.remove(keyword, ignore_missing=True)
        for axis in "12":
            header[f"CTYPE{axis}"] = header[f"CTYPE{axis}"].removesuffix("-SIP")
    for index in reversed([i for i, hdu in enumerate(hdul) if hdu.name in {"WCSDVARR", "D2IMARR"}]):
        del hdul[index]


@pytest.mark.parametrize("rejects", [True, False])
def test_without_coeffs_the_distortion_is_absent_whatever_steps_run(
    inputs: list[Path], *, rejects: bool
) -> None:
    steps = dict.fromkeys(("median", "blot", "driz_cr"), rejects)
    with_distortion = _pixels(_run(inputs, "d", **steps))
    found = _pixels(_run(inputs, "m", coeffs=False, **steps))
    for path in inputs:
        with fits.open(path) as hdul:
            hdul.readall()
            _strip_distortion(hdul)
            hdul.writeto(path, overwrite=True)
    expected = _pixels(_run(inputs, "s", coeffs=False, **steps))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0].shape != with_distortion[0].shape or not np.array_equal(found[0], with_distortion[0])
