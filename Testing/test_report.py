"""The report's page and pictures, from a generated CT with real segmentation and attention objects."""

import base64
import re
import tempfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import SimpleITK as sitk
from HLFDSegmentationLib.attention import Focus, LayerAttention
from HLFDSegmentationLib.color_maps import AttentionColors
from HLFDSegmentationLib.errors import OutputError
from HLFDSegmentationLib.inference import Segmentation
from HLFDSegmentationLib.layers import LAYERS
from HLFDSegmentationLib.model_package import ModelPackage
from HLFDSegmentationLib.quantification import measure
from HLFDSegmentationLib.report import LISTED_LESIONS, RESEARCH_ONLY, write_report
from HLFDSegmentationLib.reports.report_attention import HOW_TO_READ, MAPS_GONE, NO_POSITIVE_ATTENTION, TOO_SMALL
from HLFDSegmentationLib.reports.report_elements import number
from HLFDSegmentationLib.reports.report_figures import AxialPictures
from HLFDSegmentationLib.reports.report_style import STYLE
from HLFDSegmentationLib.tasks import TASKS
from HLFDSegmentationLib.volumes import AxialSlices

TASK = TASKS["abdomen"]
SPACING = (2.0, 2.0, 6.0)
LIVER, KIDNEY, LIVER_TUMOR, KIDNEY_TUMOR = 1, 2, 3, 4
HOSTILE = '<script>alert("x")<img src=http:x onerror=y>&amp;.nii.gz'
NOTES = ["12.3 mL that the network took for liver were left out.", "The memory of cuda:0 was too small."]
WARNINGS = ["This image is not CT in HU: 0 < values < 800."]


def ellipse(shape, center, radii):
    return sum(((grid - c) / r) ** 2 for grid, c, r in zip(np.indices(shape), center, radii)) <= 1


def body(with_labels=True):
    """A CT (z, y, x) with a body, a rib at the patient's right front, and its labels."""
    shape = (10, 120, 160)
    ct = np.full(shape, -1000, np.int16)
    ct[ellipse(shape, (5, 60, 80), (1000, 45, 60))] = -80
    ct[ellipse(shape, (5, 30, 45), (1000, 4, 4))] = 700
    labels = np.zeros(shape, np.uint8)
    if with_labels:
        labels[ellipse(shape, (6, 55, 55), (3, 20, 22))] = LIVER
        labels[ellipse(shape, (6, 50, 50), (1, 6, 6))] = LIVER_TUMOR
        labels[5, 65, 60] = LIVER_TUMOR
        labels[ellipse(shape, (3, 75, 100), (2, 8, 8))] = KIDNEY
    ct[labels > 0] = 90
    return on_grid(ct), on_grid(labels)


def on_grid(array, spacing=SPACING):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-150.0, -110.0, 300.0))
    return image


def segmented(ct, labels, notes=(), attention=True, signed=False):
    """What a segmenter would give; encoder5 has no positive attention."""
    slices = AxialSlices(ct, TASK)
    rng = np.random.default_rng(0)
    array = sitk.GetArrayFromImage(labels)

    def layer_attention(label, layer):
        empty = layer == "encoder5"
        maps = rng.random((slices.count, 6, 8)).astype(np.float32) * (0 if empty else 1)
        present = (array == label.value).any(axis=(1, 2))
        focus = None if empty else Focus(0.32, 0.5, 0.1, 0.2)
        return LayerAttention(label.name, layer, maps, signed, present, focus, empty)

    found = [label for label in TASK.labels if (array == label.value).any()] if attention else []
    maps = [layer_attention(label, layer) for label in found for layer in LAYERS]
    return Segmentation(labels, TASK, array, cautions=[], notes=list(notes), attention=maps, device="cpu")


def package():
    return ModelPackage(
        path=Path("/somewhere/secret/abdomen"),
        name="abdomen-test",
        title="Distilled <student>",
        task=TASK,
        network_name="resnet18-unet",
        layers=list(LAYERS),
        license="CC BY-NC-SA 4.0",
        license_text="",
        training_data=[
            {"name": "Slices & volumes", "source": "a public challenge", "license": "CC BY-SA 4.0", "patients": 99}
        ],
        metrics={"liver": {"dice": 0.93125, "patients": 15}, "liver tumor": {"dice": None}},
        method="hlfd",
        seeds={},
        card="",
        weights_sha256="",
    )


def write(path, ct, segmentation, ct_name="ct.nii.gz", warnings=(), dicom_series=False):
    measures = measure(segmentation.labels, ct, TASK)
    write_report(
        path,
        ct=ct,
        ct_name=ct_name,
        segmentation=segmentation,
        measures=measures,
        package=package(),
        warnings=warnings,
        dicom_series=dicom_series,
    )
    return Page(path.read_text(encoding="utf-8"))


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and texts outside of the style sheet."""

    def __init__(self, source):
        super().__init__()
        self.source = source
        self.elements = []
        self.texts = []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return "\n".join(self.texts)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def rows(self):
        """The texts of the cells of the table of measures, by the first of each row."""
        (table,) = re.findall("<table>.*?</table>", self.source, re.DOTALL)
        rows = [["".join(cell.itertext()) for cell in row] for row in ElementTree.fromstring(table).iter("tr")]
        return {name: cells for name, *cells in rows}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    ct, labels = body()
    path = tmp_path_factory.mktemp("report") / "report.html"
    return write(path, ct, segmented(ct, labels, NOTES), f"/home/jane doe/{HOSTILE}", WARNINGS)


def test_report_loads_nothing_from_outside(page):
    for _, attributes in page.elements:
        assert not {"href", "srcset", "data", "action", "xlink:href"} & attributes.keys()
        assert "url(" not in attributes.get("style", "")
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
    assert "@import" not in page.source and "url(" not in page.source
    policies = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    assert policies and "default-src 'none'" in policies[0]


def test_report_says_everything_once_at_least(page):
    for label in TASK.labels:
        assert label.name in page.text
    for layer in LAYERS:
        assert page.text.count(layer) >= 3  # for liver, kidney and liver tumor
    for sentence in (RESEARCH_ONLY, HOW_TO_READ, *NOTES, *WARNINGS):
        assert sentence in page.text
    for fact in (
        "abdomen-test",
        "Distilled <student>",
        "resnet18-unet",
        "CC BY-NC-SA 4.0",
        "Slices & volumes (a public challenge), 99 patients, license CC BY-SA 4.0",
        "liver: dice 0.931 (15 patients)",
        "liver tumor: dice not measured",
    ):
        assert fact in page.text
    assert "kidney tumor (none marked)" in page.text


def test_report_holds_the_measures(page):
    ct, labels = body()
    liver, _, tumor, _ = measure(labels, ct, TASK)
    assert f"{liver.volume_with_tumors_ml:.0f}" in page.texts
    assert f"{tumor.lesions[0].longest_axial_diameter_mm:.1f}" in page.texts
    assert "liver tumor (2 lesions)" in page.texts


def test_every_measure_stands_in_its_row_and_column(tmp_path):
    ct, labels = body()
    hu = sitk.GetArrayFromImage(ct) + np.random.default_rng(20261127).normal(0, 30, ct.GetSize()[::-1])
    ct = on_grid(hu.astype(np.float32))
    rows = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False)).rows
    liver, _, tumor, _ = measure(labels, ct, TASK)
    lesion = tumor.lesions[0]
    assert rows["Segment"] == [
        "Volume mL",
        "With tumors mL",
        "Mean ± SD HU",
        "Longest axial diameter mm",
        "Center R, A, S mm",
        "CT slice axial, from 0",
    ]
    assert rows["liver"] == [
        f"{liver.volume_ml:.0f}",
        f"{liver.volume_with_tumors_ml:.0f}",
        f"{liver.mean_hu:.0f} ± {liver.sd_hu:.0f}",
        *[""] * 3,
    ]
    hu_of_tumor = f"{tumor.mean_hu:.0f} ± {tumor.sd_hu:.0f}"
    assert rows["liver tumor (2 lesions)"] == [f"{tumor.volume_ml:.2f}", "", hu_of_tumor, *[""] * 3]
    assert rows["lesion 1"] == [
        f"{lesion.volume_ml:.2f}",
        "",
        f"{lesion.mean_hu:.0f} ± {lesion.sd_hu:.0f}",
        f"{lesion.longest_axial_diameter_mm:.1f}",
        # Its middle is voxel (50, 50, 6), in a CT that begins at R 150, A 110, S 300 mm.
        "50, 10, 336",
        "6",
    ]


def test_a_volume_keeps_its_whole_name(tmp_path):
    ct, labels = body()
    write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False), ct_name="5: CT Abdomen/Pelvis")
    assert "5: CT Abdomen/Pelvis" in Path(tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_tells_the_voxels_of_the_ct(page):
    assert "CT of 160 × 120 × 10 voxels, 2 × 2 × 6 mm each" in page.texts


@pytest.mark.parametrize(
    ("orientation", "plane", "course"),
    [
        ("LPS", "axial", "inferior to superior"),
        ("LPI", "axial", "superior to inferior"),
        ("LSP", "coronal", "anterior to posterior"),
        ("SPR", "sagittal", "left to right"),
    ],
)
def test_the_report_tells_which_slices_of_the_ct_are_counted(tmp_path, orientation, plane, course):
    ct, labels = (sitk.DICOMOrient(image, orientation) for image in body())
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False))
    assert f" {plane}, from 0" in page.texts
    assert f"the CT's {plane} slices, as the CT stores them, from {course}" in page.text


def test_slices_of_a_dicom_series_are_not_counted_by_its_image_numbers(tmp_path):
    ct, labels = body()
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False), dicom_series=True)
    assert "counted by position from inferior to superior, the first as 0. It is not the image number" in page.text
    assert "call it 1" not in page.text


def test_kidneys_are_told_by_side(tmp_path):
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    for across in (60, 100):
        array[ellipse(array.shape, (3, 75, across), (2, 14, 14))] = KIDNEY
    array[3, 75, 98:103] = KIDNEY_TUMOR
    both = on_grid(array)
    page = write(tmp_path / "report.html", ct, segmented(ct, both, attention=False))
    assert {"right kidney", "left kidney", "lesion 1, left"} <= set(page.texts)
    left = measure(both, ct, TASK)[KIDNEY - 1].side_ml["left"]
    at = page.texts.index("left kidney")
    assert page.texts[at + 1 : at + 3] == [f"{left:.1f}", f"{left + 5 * 0.024:.1f}"]
    assert "kidney, neither side" not in page.texts


def test_right_left_and_neither_side_add_up(tmp_path):
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    for across, radius in ((56, 14), (100, 26)):
        array[ellipse(array.shape, (3, 75, across), (2, radius, radius))] = KIDNEY
    array[8:, 90:94, 78:82] = KIDNEY
    array[9, 90:94, 78:82] = KIDNEY_TUMOR
    rows = write(tmp_path / "report.html", ct, segmented(ct, on_grid(array), attention=False)).rows
    kidney = np.array([rows[name][:2] for name in ("kidney", "right kidney", "left kidney", "kidney, neither side")])
    assert kidney[3].tolist() == ["0.38", "0.77"]
    assert np.allclose(kidney[0].astype(float), kidney[1:].astype(float).sum(axis=0), atol=0.016)


def test_each_lesion_has_its_hu_in_the_report(tmp_path):
    ct, labels = body()
    noisy = sitk.GetArrayFromImage(ct) + np.random.default_rng(0).normal(0, 30, ct.GetSize()[::-1])
    noisy = on_grid(noisy.astype(np.float32))
    page = write(tmp_path / "report.html", noisy, segmented(noisy, labels, attention=False))
    lesion = measure(labels, noisy, TASK)[LIVER_TUMOR - 1].lesions[0]
    assert f"{lesion.mean_hu:.0f} ± {lesion.sd_hu:.0f}" in page.texts


def test_focus_is_told_in_words_and_bars(page):
    assert page.texts.count("32% in liver (3.2×)") == 8
    assert page.texts.count("50% in liver with tumors (2.5×)") == 8
    assert page.texts.count(NO_POSITIVE_ATTENTION) == 2 * 3  # below the picture and in the chart, for three labels
    bars = [float(bar["width"]) for bar in page.all("rect")]
    assert len(bars) == 3 * len(LAYERS)
    assert bars.count(0.0) == 3


def test_the_bars_of_focus_are_logarithms(tmp_path):
    """From 1 to 8 it is three times as far as from 1 to 2, and a half lies on the other side."""
    ct, labels = body()
    segmentation = segmented(ct, labels)
    ratios = dict(zip(LAYERS, (0.5, 1.0, 2.0, 8.0, 0.0, 1.0, 1.0, 1.0, 1.0)))
    maps = [
        replace(one, empty=False, focus=Focus(ratios[one.layer] * 0.1, 0.5, 0.1, 0.2))
        for one in segmentation.attention
        if one.label == "liver"
    ]
    page = write(tmp_path / "report.html", ct, replace(segmentation, attention=maps))
    half, once, twice, eight, none, *_ = [(float(bar["x"]), float(bar["width"])) for bar in page.all("rect")]
    assert once[1] == pytest.approx(0, abs=0.2)
    assert (half[1], eight[1]) == pytest.approx((twice[1], 3 * twice[1]), abs=0.2)
    assert half[0] + half[1] == pytest.approx(twice[0], abs=0.2) and none[0] == pytest.approx(84)
    assert {"1/32×", "1×", "8×"} <= set(page.texts)
    assert "on a logarithmic scale" in page.text
    assert {"0.50×", "8.0×"} <= set(page.texts)


def test_every_picture_has_the_letters_of_the_sides_and_the_legend_tells_the_bar(page):
    sides = [attributes for name, attributes in page.elements if attributes.get("class", "").startswith("side ")]
    assert len(sides) == 4 * len(page.all("img"))
    assert page.text.count("White bar: 50 mm") == 2


def test_the_color_scale_is_as_faint_as_the_pictures(page):
    """Black is no color of theirs: without attention the CT is seen."""
    (style,) = [span["style"] for span in page.all("span") if span.get("class") == "bar"]
    first, *_, last = (tuple(map(int, color.split(", "))) for color in re.findall(r"rgb\(([\d, ]+)\)", style))
    assert first == (128, 128, 128)
    strongest = AttentionColors().rgb[-1]
    assert last == pytest.approx(tuple(0.65 * strongest + 0.35 * 127.5), abs=1)


def test_a_share_of_less_than_a_percent_is_not_nothing(tmp_path):
    ct, labels = body()
    segmentation = segmented(ct, labels)
    small = [replace(one, focus=one.focus and Focus(0.0036, 0.0004, 0.001, 0.0002)) for one in segmentation.attention]
    page = write(tmp_path / "report.html", ct, replace(segmentation, attention=small))
    assert "0.4% in liver (3.6×)" in page.texts
    assert "less than 0.1% in liver with tumors (2.0×)" in page.texts
    none = [replace(one, focus=one.focus and Focus(0.0, 0.0005, 0.001, 0.0002)) for one in segmentation.attention]
    page = write(tmp_path / "report.html", ct, replace(segmentation, attention=none))
    assert {"0.0% in liver (0.00×)", "0.1% in liver with tumors (2.5×)"} <= set(page.texts)


def test_the_scale_of_signed_attention_is_of_either_sign(tmp_path):
    ct, labels = body()
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, signed=True))
    assert "1, the layer's strongest attention of either sign in the whole CT" in page.texts


def test_names_are_escaped_and_folders_left_out(page):
    assert HOSTILE in page.text
    assert not page.all("script")
    assert "<script" not in page.source
    assert not [attributes for _, attributes in page.elements if "onerror" in attributes]
    assert "jane doe" not in page.source
    assert "/somewhere" not in page.source
    # The letters of a picture can be any.
    assert tempfile.gettempdir() not in re.sub(r"base64,[\w+/=]+", "", page.source)


def test_pictures_decode_have_texts_and_the_promised_size(page):
    pictures = page.all("img")
    # The largest slice of three labels, two lesions, and nine layers for three labels.
    assert len(pictures) == 3 + 2 + 9 * 3
    for picture in pictures:
        image = decoded(base64.b64decode(picture["src"].partition(",")[2]))
        rows, columns, colors = image.shape
        assert colors == 3
        assert image.std() > 10
        assert columns / rows == pytest.approx(int(picture["width"]) / int(picture["height"]), rel=0.02)
        assert "Axial CT slice" in picture["alt"] or "Attention of" in picture["alt"]


def test_a_ct_without_any_label_still_gets_its_report(tmp_path):
    ct, labels = body(with_labels=False)
    page = write(tmp_path / "report.html", ct, segmented(ct, labels))
    assert "has none of the labels" in page.text
    assert not page.all("img")
    assert "What each layer looks at" not in page.text
    assert "Caution" not in page.text


def test_what_a_reader_must_not_miss_stands_apart_from_the_notes(tmp_path):
    ct, labels = body()
    segmentation = replace(segmented(ct, labels, ["A speck went."], attention=False), cautions=["Mirrored & turned?"])
    page = write(tmp_path / "report.html", ct, segmentation, warnings=["Not in HU."])
    text = " ".join(page.text.split())
    assert "Caution Not in HU. Mirrored & turned? Notes A speck went." in text


def test_a_very_small_ct_gets_its_report(tmp_path):
    ct = on_grid(np.full((1, 4, 5), 50, np.int16))
    labels = on_grid(np.pad(np.full((1, 2, 2), LIVER_TUMOR, np.uint8), ((0, 0), (1, 1), (1, 2))))
    page = write(tmp_path / "report.html", ct, segmented(ct, labels))
    assert len(page.all("img")) == 1 + 1 + 9


def test_many_lesions_are_listed_only_in_the_table_of_measures(tmp_path):
    ct, _ = body()
    labels = np.zeros(ct.GetSize()[::-1], np.uint8)
    labels[4, 20:100:3, 20] = LIVER_TUMOR
    page = write(tmp_path / "report.html", ct, segmented(ct, on_grid(labels), attention=False))
    assert "liver tumor (27 lesions)" in page.texts
    assert f"lesion {LISTED_LESIONS}" in page.texts
    assert f"lesion {LISTED_LESIONS + 1}" not in page.texts
    assert "7 more, smaller than these" in page.texts


def test_a_file_name_that_is_no_unicode_does_not_stop_the_report(tmp_path):
    ct, labels = body()
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False), "Müller\udcff.nii")
    assert "Müller?.nii" in page.text


def test_report_replaces_the_old_one_or_leaves_it(tmp_path):
    ct, labels = body()
    segmentation = segmented(ct, labels, attention=False)
    report = tmp_path / "report.html"
    report.write_text("old")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError):
        write(tmp_path / "file" / "report.html", ct, segmentation)
    assert report.read_text() == "old"
    write(report, ct, segmentation)
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "report.html"]


# Pictures


def decoded(png):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        path.write_bytes(png)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def center_of(mask):
    """Where the pixels of a mask lie on average, from 0 (top, left) to 1."""
    return np.mean(np.nonzero(mask), axis=1) / mask.shape


def has_color(pixels, color):
    return (pixels == color).all(axis=-1)


def color_in(pixels):
    """How far a pixel is from gray."""
    return np.ptp(pixels.astype(int), axis=-1)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "RAI", "SLP", "PIR"])
def test_pictures_show_the_right_side_left_whatever_the_order_of_axes(orientation):
    ct, labels = (sitk.DICOMOrient(image, orientation) for image in body())
    pictures = AxialPictures(ct, labels, TASK)
    z = pictures.largest_slice(TASK.label("liver"))
    assert z == 6
    assert pictures.center_in(z, TASK.label("liver")) == pytest.approx((-40.0, 0.0, 336.0), abs=1.0)
    pixels = decoded(pictures.anatomy(z).png)
    rows, columns, _ = pixels.shape
    rib = has_color(pixels, (255, 255, 255))
    rib[rows // 2 :] = False  # the scale bar is white too
    down, across = center_of(rib)
    assert down < 0.3
    assert across < 0.3
    outline = center_of(has_color(pixels, TASK.label("liver").color))
    assert outline[1] < 0.4
    # The body is 240 mm wide and 180 mm high, and the picture is cut to it.
    assert columns / rows == pytest.approx(4 / 3, rel=0.1)


def test_pixels_have_true_proportions():
    shape = (3, 60, 240)
    ball = ellipse(shape, (1, 30, 120), (9, 12, 48))  # round in mm
    labels = on_grid(np.where(ball, LIVER, 0).astype(np.uint8), spacing=(0.5, 2.0, 5.0))
    ct = on_grid(np.full(shape, 50, np.int16), spacing=(0.5, 2.0, 5.0))
    pixels = decoded(AxialPictures(ct, labels, TASK).anatomy(1).png)
    rows, columns = np.nonzero(has_color(pixels, TASK.label("liver").color))
    assert np.ptp(columns) == pytest.approx(np.ptp(rows), rel=0.05)
    mm = 2 * 24 / np.ptp(columns)
    bar = has_color(pixels, (255, 255, 255)).any(axis=0).sum()
    assert bar * mm == pytest.approx(50.0, rel=0.06)


def test_the_diameter_is_drawn_where_it_was_measured():
    ct, labels = body()
    pictures = AxialPictures(ct, labels, TASK)
    lesion = measure(labels, ct, TASK)[LIVER_TUMOR - 1].lesions[0]
    z = pictures.slice_at(lesion.diameter_ends_mm[0])
    without, with_line = (decoded(pictures.anatomy(z, ends).png) for ends in (None, lesion.diameter_ends_mm))
    line = (without != with_line).any(axis=-1)
    tumor = has_color(without, TASK.label("liver tumor").color)
    assert center_of(line) == pytest.approx(center_of(tumor), abs=0.03)
    assert line.sum() > 30


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SLP"])
def test_attention_lies_on_the_ct_where_its_cell_lies(orientation):
    ct, labels = (sitk.DICOMOrient(image, orientation) for image in body())
    pictures, slices = AxialPictures(ct, labels, TASK), AxialSlices(ct, TASK)
    liver = TASK.label("liver")
    z = pictures.largest_slice(liver)
    height, width = slices.shape
    mm_to_cell = 1 / 16  # network pixels are 1 mm, cells 16
    maps = np.zeros((slices.count, height // 16, width // 16), np.float32)
    kidney_mm = (100 * SPACING[0], 75 * SPACING[1])  # across, down
    maps[z, int(kidney_mm[1] * mm_to_cell), int(kidney_mm[0] * mm_to_cell)] = 1.0
    pixels = decoded(pictures.attention(z, liver, slices.layer_image(maps), AttentionColors()).png)
    hot = color_in(pixels) > 40
    down, across = center_of(hot)
    # Body from x 40 to 280 mm and from y 30 to 210 mm fills the picture but for a small margin.
    assert across == pytest.approx((kidney_mm[0] - 40) / 240, abs=0.06)
    assert down == pytest.approx((kidney_mm[1] - 30) / 180, abs=0.06)
    assert hot.mean() < 0.05

    against = decoded(pictures.attention(z, liver, slices.layer_image(-maps), AttentionColors(signed=True)).png)
    blue = (color_in(against) > 40) & (against[..., 2] > against[..., 0])
    assert blue.sum() == pytest.approx(hot.sum(), rel=0.2)
    elsewhere = decoded(pictures.attention(z - 2, liver, slices.layer_image(maps), AttentionColors()).png)
    assert not (color_in(elsewhere) > 5).any()


def test_attention_has_the_bar_that_the_key_slices_have():
    ct, labels = body()
    pictures = AxialPictures(ct, labels, TASK)
    nothing = on_grid(np.zeros((10, 120, 160), np.float32))
    picture = pictures.attention(0, TASK.label("liver"), nothing, AttentionColors())  # a slice without liver
    bar = has_color(decoded(picture.png), (255, 255, 255))
    bar[: len(bar) // 2] = False
    # The picture is cut to the body, which is 240 mm wide, with a small margin.
    assert bar.any(axis=0).mean() == pytest.approx(50 / 240, rel=0.1)


def test_a_ct_that_fills_its_field_of_view_is_shown_whole():
    labels = on_grid(np.full((2, 30, 40), LIVER, np.uint8))
    ct = on_grid(np.full((2, 30, 40), 400, np.int16))
    picture = AxialPictures(ct, labels, TASK).anatomy(0)
    assert picture.width / picture.height == pytest.approx(4 / 3, rel=0.02)


@pytest.mark.parametrize("signed", [False, True])
def test_attention_has_the_colors_of_the_panel_in_slicer(signed):
    ct, labels = body()
    pictures, liver = AxialPictures(ct, labels, TASK), TASK.label("liver")
    colors = AttentionColors(signed=signed)
    layer = on_grid(np.full((10, 120, 160), -1.0 if signed else 1.0, np.float32))
    pixels = decoded(pictures.attention(6, liver, layer, colors).png)
    strongest = colors.rgb[0 if signed else -1]
    # Attention at its strongest lets a share of the CT through, which is grey.
    assert np.ptp(pixels[2, 2] - 0.65 * strongest) < 3


@pytest.mark.parametrize(("seen", "told"), [(False, TOO_SMALL), (True, MAPS_GONE)])
def test_a_label_without_maps_is_not_called_absent(seen, told, tmp_path):
    ct, labels = body()
    found = segmented(ct, labels)
    found.attention[:] = [layer for layer in found.attention if layer.label != "kidney"]
    if not seen:  # between the network's pixels
        found.network_labels[found.network_labels == KIDNEY] = 0
    page = write(tmp_path / "report.html", ct, found)
    assert told in page.text and "No kidney was marked" not in page.text
    assert "No kidney tumor was marked, so there is no map of it" in page.text


def test_lesion_centers_are_right_anterior_superior(tmp_path):
    ct, labels = body()
    left, posterior, superior = measure(labels, ct, TASK)[LIVER_TUMOR - 1].lesions[0].center_mm
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False))
    assert f"{-left:.0f}, {-posterior:.0f}, {superior:.0f}".replace("-", "−") in page.texts


def test_a_lesion_of_less_than_a_tenth_of_a_ml_has_a_volume(tmp_path):
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    array[2:4, 2, 2] = LIVER_TUMOR
    labels = on_grid(array)
    smallest = measure(labels, ct, TASK)[LIVER_TUMOR - 1].lesions[-1]
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False))
    assert 0 < smallest.volume_ml < 0.1 and f"{smallest.volume_ml:.2f}" in page.texts


def test_a_lesion_of_a_voxel_is_not_told_as_none(tmp_path):
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    array[array == LIVER_TUMOR] = LIVER
    array[5, 50, 50] = LIVER_TUMOR
    ct, labels = (on_grid(sitk.GetArrayFromImage(image), (0.5, 0.5, 1.0)) for image in (ct, on_grid(array)))
    rows = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False)).rows
    assert rows["liver tumor (1 lesion)"][0] == rows["lesion 1"][0] == "< 0.01"
    assert rows["kidney tumor (none marked)"][0] == "0.00"


def test_a_diameter_is_shown_in_the_slice_in_which_it_was_measured(tmp_path):
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    array[array == LIVER_TUMOR] = LIVER
    array[2:9, 50, 50] = array[3, 50, 45:60] = LIVER_TUMOR
    labels = on_grid(array)
    (lesion,) = measure(labels, ct, TASK)[LIVER_TUMOR - 1].lesions
    widest, middle = lesion.diameter_ends_mm[0][2], lesion.center_mm[2]
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False))
    assert abs(widest - middle) > SPACING[2] / 2
    assert any(text.startswith(f"S {widest:.1f} mm, longest diameter") for text in page.texts)


def test_a_diameter_is_shown_where_it_is_longest_though_another_slice_has_more_of_the_lesion(tmp_path):
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    array[array == LIVER_TUMOR] = LIVER
    array[3:7, 50, 50] = array[3, 50, 43:60] = LIVER_TUMOR
    array[6, 47:54, 47:54] = LIVER_TUMOR
    labels = on_grid(array)
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False))
    assert any(text.startswith("S 318.0 mm, longest diameter") for text in page.texts)


def test_what_lies_below_the_origin_is_inferior_in_captions_and_negative_in_the_table(tmp_path):
    ct, labels = body()
    for image in (ct, labels):
        left, posterior, superior = image.GetOrigin()
        image.SetOrigin((left, posterior, superior - 1000))
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False))
    assert page.rows["lesion 1"][4].endswith(", −664")
    assert any(text.startswith("I 664.0 mm, longest diameter") for text in page.texts)
    assert any("negative ones are to the left, posterior and inferior" in text for text in page.texts)


def test_in_a_tilted_slice_a_picture_tells_the_place_of_what_it_shows(tmp_path):
    """And not that of the slice's middle: at 9 degrees both differ by centimeters."""
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    array[6, 90:94, 50:54] = LIVER_TUMOR  # in the slice of the largest one
    labels = on_grid(array)
    for image in (ct, labels):
        image.SetDirection(sitk.Euler3DTransform((0, 0, 0), np.radians(9), 0, 0).GetMatrix())
    page = write(tmp_path / "report.html", ct, segmented(ct, labels))
    ends = measure(labels, ct, TASK)[LIVER_TUMOR - 1].lesions[0].diameter_ends_mm
    assert any(text.startswith(f"S {np.mean(ends, axis=0)[2]:.1f} mm, longest diameter") for text in page.texts)
    index = np.argwhere(sitk.GetArrayViewFromImage(labels)[3] == KIDNEY).mean(axis=0)[::-1]
    superior = labels.TransformContinuousIndexToPhysicalPoint((*index.tolist(), 3.0))[2]
    assert f"S {superior:.1f} mm, largest area" in page.texts
    assert any(f"Slice with the largest area, S {superior:.1f} mm. White outline: kidney." in one for one in page.texts)


def test_no_column_of_a_table_is_left_out_on_paper():
    """Where it can be scrolled on the screen."""
    printed = STYLE.partition("@media print")[2]
    assert ".scroll { overflow: visible; }" in printed and "tbody td { white-space: normal; }" in printed


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "SLP"])
def test_the_picture_of_a_lesion_is_of_the_slice_of_its_diameter(orientation, tmp_path):
    ct, labels = body()
    array = sitk.GetArrayFromImage(labels)
    array[array == LIVER_TUMOR] = LIVER
    array[2:9, 50, 50] = array[3, 50, 45:60] = LIVER_TUMOR
    ct, labels = (sitk.DICOMOrient(one, orientation) for one in (ct, on_grid(array)))
    (lesion,) = measure(labels, ct, TASK)[LIVER_TUMOR - 1].lesions
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, attention=False))
    (shown,) = [image for image in page.all("img") if "the longest diameter of liver tumor 1" in image["alt"]]
    of_slice = AxialPictures(ct, labels, TASK).anatomy(3, lesion.diameter_ends_mm)
    assert base64.b64decode(shown["src"].partition(",")[2]) == of_slice.png


def test_the_letters_of_the_sides_stand_where_the_pictures_show_them(page):
    """The patient's right at the left, anterior above."""
    letters = re.findall(r'<span class="side (\w)"[^>]*>(\w)</span>', page.source)
    assert letters and all(place == letter for place, letter in letters)
    for side, edge in {"R": "left: 6px", "L": "right: 6px", "A": "top: 6px", "P": "bottom: 6px"}.items():
        (rule,) = re.findall(rf"\.side\.{side} {{([^}}]*)}}", STYLE)
        assert edge in rule


@pytest.mark.parametrize(("value", "digits", "told"), [(-0.04, 1, "0.0"), (-0.4, 0, "0"), (-3.6, 0, "−4")])
def test_a_number_that_rounds_to_nothing_has_no_sign(value, digits, told):
    assert number(value, digits) == told


@pytest.mark.parametrize(("signed", "least"), [(True, "−1, against the label"), (False, "0")])
def test_the_scale_tells_what_its_lowest_color_is(signed, least, tmp_path):
    ct, labels = body()
    page = write(tmp_path / "report.html", ct, segmented(ct, labels, signed=signed))
    (last,) = [place for place, text in enumerate(page.texts) if text.startswith("1, the layer's strongest")]
    assert page.texts[last - 1] == least
