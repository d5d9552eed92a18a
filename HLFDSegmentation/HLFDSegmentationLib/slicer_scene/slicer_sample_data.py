"""The generated CT in Slicer's Sample Data: made on this computer on first use, nothing is downloaded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from ..errors import OutputError
from ..hounsfield import DRAWN_HU
from ..slicer_tools.slicer_double_click import without_double_clicks
from ..slicer_tools.slicer_python import run_python

CATEGORY = "HLFD"
NAME = "HLFD generated CT"
# The number is raised when the generator makes another patient, so that an old copy is not taken for the new one.
FILE = "HLFD-generated-CT-1.nii.gz"


def register_sample_data(icon: Path) -> None:
    """Adds the generated CT to the Sample Data module, as a button. Scripts call `load_generated_ct`.

    Args:
        icon: the picture on its button.
    """
    from SampleData import SampleDataLogic

    if hasattr(SampleDataLogic, "registerCustomSampleDataCategory"):  # since Slicer 5.12
        SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, title=_("HLFD"))
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        thumbnailFileName=str(icon),
        # Sample Data wants an address. It is that of the file once it is generated.
        uris=_file().as_uri(),
        fileNames=FILE,
        nodeNames=NAME,
        # Clicks are delivered while the CT is generated.
        customDownloader=without_double_clicks(_on_chosen),
    )


def load_generated_ct() -> slicer.vtkMRMLScalarVolumeNode:
    """The generated CT as a new volume node, shown in the slice views. The first call makes its file, in half a minute.

    Raises:
        OutputError: the file could not be made.
    """
    if not _file().is_file():
        with slicer.util.WaitCursor():
            slicer.util.showStatusMessage(_("Generating a CT, this once..."))
            _generate()
            slicer.util.showStatusMessage("")
    node = slicer.util.loadVolume(str(_file()), properties={"name": NAME})
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(*DRAWN_HU)  # Tumors can hardly be seen in the window that Slicer chooses.
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def _on_chosen(source: Any) -> None:
    # Sample Data shows nothing of what goes wrong in it.
    with slicer.util.tryWithErrorDisplay():
        load_generated_ct()


def _file() -> Path:
    return Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()).absolute() / FILE


def _generate() -> None:
    ended = run_python("HLFDSegmentationLib.phantom", str(_file()))
    if ended.code:
        logging.error("HLFD: the CT could not be generated:\n%s", ended.log)
        raise OutputError(
            _(
                "The CT could not be generated. Check that the disk with Slicer's cache folder has 100 MB of free "
                "space (Edit > Application Settings > Cache), and try again."
            )
        )
