"""Takes the docs' pictures of the Slicer module: panel, slice views, focus chart, mosaic and comparison of one CT.

    python Testing/experiments/slicer_pictures.py CT docs/images [--other MODEL]

CT (in the docs: hcc_011_acq1) is segmented with the model that ships, in the stand-in Slicer of the tests; with --other
once more with MODEL (folder of a package, or name of an installed one), and both are compared. Slices are drawn with
Slicer's libraries, charts by a stand-in; both say so, and whose CT it is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from docs_pictures import GAP, side_by_side

TESTING = Path(__file__).resolve().parents[1]
MODULE_FILE = TESTING.parent / "HLFDSegmentation" / "HLFDSegmentation.py"
sys.path.insert(0, str(TESTING))

from slicer_shell.fixtures import require_shell  # noqa: E402

slicer = require_shell()

import SimpleITK as sitk  # noqa: E402
from slicer_cases import add_volume  # noqa: E402
from slicer_shell.modules import load_module_file  # noqa: E402
from slicer_shell.packaging_stand_ins import packages  # noqa: E402
from slicer_shell.plots import draw_chart  # noqa: E402
from slicer_shell.pyside import QtCore, QtGui  # noqa: E402
from slicer_shell.screenshots import grab  # noqa: E402
from slicer_shell.views import render_slice_view  # noqa: E402

SEGMENT = "liver"
LAYERS = ("encoder2", "encoder5", "decoder2")
WINDOW_HU = (-110, 240)
VIEW = (430, 330)
ZOOM = 1.3
CHART = (860, 420)
MOSAIC = (960, 740)
PANEL_WIDTH = 460
LINE_HEIGHT = 17
CAPTION = "Drawn with Slicer's libraries, not in 3D Slicer."
CREDIT = "HCC-TACE-Seg, The Cancer Imaging Archive, DOI 10.7937/TCIA.5FNA-0924, CC BY 4.0"


class Pictures:
    """The folder of pictures, and what is written below each.

    Args:
        folder: for the PNG files.
        credit: whose CT it is.
    """

    def __init__(self, folder: Path, credit: str) -> None:
        self._folder = folder
        self._caption = (CAPTION, f"CT: {credit}")

    def save(self, name: str, *rows: list[np.ndarray]) -> None:
        """Saves pictures, uint8 (height, width, 3), in rows with a caption below."""
        picture = np.concatenate([side_by_side(row)[:, :-GAP] for row in rows])
        height, width, _ = picture.shape
        image = QtGui.QImage(width, height + LINE_HEIGHT * len(self._caption) + GAP, QtGui.QImage.Format_RGB888)
        image.fill(QtCore.Qt.white)
        painter = QtGui.QPainter(image)
        pixels = np.ascontiguousarray(picture)
        painter.drawImage(0, 0, QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format_RGB888))
        font = painter.font()
        font.setPixelSize(12)
        painter.setFont(font)
        painter.setPen(QtGui.QColor(80, 80, 80))
        for number, line in enumerate(self._caption, start=1):
            painter.drawText(GAP, height + LINE_HEIGHT * number, line)
        painter.end()
        if not image.save(str(self._folder / f"{name}.png")):
            raise OSError(f"the picture {name}.png could not be written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ct", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--credit", default=CREDIT, help="whose CT it is, where it is another one")
    parser.add_argument("--other", help="model to compare with: folder of a package, or name of an installed one")
    parser.add_argument("--segment", default=SEGMENT, help=f"whose attention (default: {SEGMENT})")
    arguments = parser.parse_args()
    arguments.images.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(arguments.images, arguments.credit)
    with packages.in_place():
        load_module_file(MODULE_FILE)
        take_all(pictures, arguments)


def take_all(pictures: Pictures, arguments: argparse.Namespace) -> None:
    from HLFDSegmentationLib.slicer_scene.slicer_worker import close_shared_worker

    from HLFDSegmentation import HLFDSegmentationLogic

    ct = add_volume(sitk.ReadImage(str(arguments.ct)), "CT")
    ct.GetDisplayNode().AutoWindowLevelOff()
    ct.GetDisplayNode().SetWindowLevelMinMax(*WINDOW_HU)
    logic = HLFDSegmentationLogic()
    result = logic.segment(ct, attention=True)
    other = logic.segment(ct, model=arguments.other, attention=True) if arguments.other else None
    close_shared_worker()
    if other:
        other.node.GetDisplayNode().SetVisibility(False)
    slicer.util.setSliceViewerLayers(background=ct, fit=True)
    take_views(pictures, result, arguments.segment)
    take_panel(arguments.images / "slicer_panel.png", result, arguments.segment)
    if other:
        other.node.GetDisplayNode().SetVisibility(True)
        take_comparison(pictures, result, other, arguments.segment)


def take_views(pictures: Pictures, result, segment: str) -> None:
    """The segmentation in three directions, three layers in the axial one, all layers as a mosaic, and their focus."""
    from HLFDSegmentationLib.slicer_panels.slicer_focus_chart import FocusChart
    from HLFDSegmentationLib.slicer_panels.slicer_layer_view import LayerView
    from HLFDSegmentationLib.slicer_panels.slicer_mosaic import mosaic
    from HLFDSegmentationLib.slicer_scene.slicer_attention_maps import place_in_result

    view = LayerView(slicer.mrmlScene)
    fit(("Red", "Green", "Yellow"))
    view.show(result, segment, LAYERS[-1])
    view.jump_to(place_in_result(result, segment, LAYERS[-1]))
    view.hide()
    pictures.save("slicer_segmentation", [render_slice_view(name, VIEW) for name in ("Red", "Green", "Yellow")])
    pictures.save("slicer_attention", [attention(view, result, segment, layer) for layer in LAYERS])
    red = slicer.mrmlScene.GetSingletonNode("Red", "vtkMRMLSliceNode")
    pictures.save("slicer_mosaic", [mosaic(result, segment, red, MOSAIC, view.colors, view.opacity)])
    view.hide()
    chart = FocusChart(slicer.mrmlScene)
    chart.show([result], segment, LAYERS[-1])
    pictures.save("slicer_focus_chart", [draw_chart(chart.chart_node, CHART)])
    chart.restore()


def take_panel(path: Path, result, segment: str) -> None:
    """The whole panel of the module with the result, and all layers at once."""
    slicer.util.mainWindow().show()
    slicer.util.selectModule("HLFDSegmentation")
    widget = slicer.modules.HLFDSegmentationWidget
    parameters = widget.logic.getParameterNode()
    parameters.inputVolume, parameters.result = result.ct, result.node
    parameters.segment, parameters.layer, parameters.showMap = segment, LAYERS[-1], True
    widget.ui.mosaicButton.click()
    panel, window = slicer.modules.hlfdsegmentation.widgetRepresentation(), slicer.util.mainWindow()
    # The picture of all layers is drawn anew, and the panel gets higher, a moment after the panel got its width.
    for _attempt in range(5):
        time.sleep(0.2)
        slicer.app.processEvents()
        window.resize(PANEL_WIDTH, panel.heightForWidth(PANEL_WIDTH) + window.statusBar().height + 8)
    shutil.copyfile(grab(panel, "panel_of_the_docs"), path)
    parameters.showMap = False


def attention(view, result, segment: str, layer: str) -> np.ndarray:
    view.show(result, segment, layer)
    return render_slice_view("Red", VIEW)


def take_comparison(pictures: Pictures, result, other, segment: str) -> None:
    """Both models' last layer in linked views, and both focus curves."""
    from HLFDSegmentationLib.slicer_panels.slicer_comparison import SIDES, Comparison

    comparison = Comparison(slicer.mrmlScene, result, other)
    comparison.show(segment, LAYERS[-1])
    fit(SIDES)
    views = [render_slice_view(side, VIEW) for side in SIDES]
    chart = draw_chart(comparison.chart.chart_node, (2 * VIEW[0] + GAP, CHART[1]))
    pictures.save("slicer_comparison", views, [chart])
    comparison.restore()


def fit(names: tuple[str, ...]) -> None:
    """Each view shows the slice at the size at which it is drawn; axial ones as large as the body, not the table."""
    for name in names:
        widget = slicer.app.layoutManager().sliceWidget(name)
        widget.sliceLogic().ResizeSliceNode(*VIEW)
        widget.fitSliceToBackground()
        node = widget.mrmlSliceNode()
        if node.GetOrientation() == "Axial":
            width, height, depth = node.GetFieldOfView()
            node.SetFieldOfView(width / ZOOM, height / ZOOM, depth)


if __name__ == "__main__":
    main()
