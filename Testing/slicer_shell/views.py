"""Slice views drawn off screen: Slicer's real slice logic and displayable managers in a window without a display."""

# ruff: noqa: N802 (Slicer's names)

import ctypes
import os
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from slicer_shell.screenshots import save_picture

# EGL draws without a display; the pictures of two back ends differ, so that it is one and the same everywhere.
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
EGL_LIBRARIES = ("libEGL.so.1", "libEGL_mesa.so.0")
SIZE = (320, 320)


def why_nothing_can_be_drawn() -> str | None:
    """The sentence for a machine without the libraries that draw; VTK would crash there."""
    for library in EGL_LIBRARIES:
        try:
            ctypes.CDLL(library)
        except OSError:
            return f"slice views cannot be drawn: {library} is missing (Debian: libegl1 libegl-mesa0 libgl1-mesa-dri)"
    return None


def picture_of(window: vtk.vtkRenderWindow) -> np.ndarray:
    """What a render window shows: uint8 (height, width, 3)."""
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()


class SliceView:
    """A slice view. It is drawn when its picture is asked for, and not before."""

    def __init__(self, slice_logic) -> None:
        self._logic = slice_logic
        self._canvas: SliceCanvas | None = None

    def mrmlSliceNode(self):
        return self._logic.GetSliceNode()

    def forceRender(self) -> None:
        """The picture is drawn when it is asked for."""

    def picture(self, size: tuple[int, int] = SIZE) -> np.ndarray:
        """What the view shows: uint8 (height, width, 3)."""
        if self._canvas is None:
            self._canvas = SliceCanvas(self._logic)
        return self._canvas.draw(size)


class SliceCanvas:
    """The render window of a slice view, with the displayable managers that Slicer gives it."""

    def __init__(self, slice_logic) -> None:
        self._logic = slice_logic
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetMultiSamples(0)
        # The markups draw in a layer of their own, which has to exist before their manager.
        self._window.SetNumberOfLayers(2)
        renderer = vtk.vtkRenderer()
        self._window.AddRenderer(renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._image = vtk.vtkImageMapper()
        self._image.SetColorWindow(255)
        self._image.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._image)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        renderer.AddViewProp(self._actor)
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        self._managers = factory.InstantiateDisplayableManagers(renderer)
        self._managers.SetMRMLDisplayableNode(slice_logic.GetSliceNode())
        # As Slicer's layout manager does: the application's logic finds them there.
        slice_logic.SetDisplayableManagerGroup(self._managers)
        self._find_color_legends()

    def draw(self, size: tuple[int, int]) -> np.ndarray:
        """Draws at the size (width, height)."""
        self._window.SetSize(*size)
        self._logic.ResizeSliceNode(*size)
        connection = self._logic.GetImageDataConnection()
        self._actor.SetVisibility(connection is not None)
        if connection is not None:
            self._image.SetInputConnection(connection)
        return picture_of(self._window)

    def _find_color_legends(self) -> None:
        """Views of Slicer are older than each color legend; this one has to be told of those before it.

        It looks for them when the user chose other layers for its slice.
        """
        composite = self._logic.GetSliceCompositeNode()
        flags = composite.GetInteractionFlags()
        composite.SetInteractionFlags(composite.ForegroundVolumeFlag)
        composite.Modified()
        composite.SetInteractionFlags(flags)


def render_slice_view(name: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """What the slice view ("Red", "Yellow", "Green" or one of a custom layout) shows: uint8 (height, width, 3)."""
    # As in Slicer, nothing is drawn before what waits for Qt's next event is done.
    slicer.app.processEvents()
    return slicer.app.layoutManager().sliceWidget(name).sliceView().picture(size)


def save_slice_view(name: str, file_name: str, size: tuple[int, int] = SIZE) -> Path:
    """Save what a slice view shows as PNG into the folder of screenshots."""
    return save_picture(render_slice_view(name, size), file_name)
