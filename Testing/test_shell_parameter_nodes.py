"""The stand-in of Slicer's parameter node wrapper: what it stores is what Slicer stores, so that saved scenes agree.

The literal strings here are those that Slicer's own wrapper writes.
"""

import enum
import pathlib
from typing import Annotated, Optional

import pytest


class Method(enum.Enum):
    HLFD = 1
    BASELINE = 2

    def label(self):
        return {"HLFD": "Distilled", "BASELINE": "Undistilled"}[self.name]


@pytest.fixture
def slicer(slicer_shell):
    return slicer_shell


@pytest.fixture
def node(slicer):
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


@pytest.fixture
def wrapper(slicer):
    from slicer import parameterNodeWrapper

    return parameterNodeWrapper


def wrap(wrapper, node, **fields):
    """A wrapper of the node with these fields: type, or type and default."""
    types = {name: field[0] if isinstance(field, tuple) else field for name, field in fields.items()}
    defaults = {name: field[1] for name, field in fields.items() if isinstance(field, tuple)}
    return wrapper.parameterNodeWrapper(type("Parameters", (), {"__annotations__": types, **defaults}))(node)


def stored(node):
    return {name: node.GetParameter(name) for name in node.GetParameterNames()}


# ---- what is stored


@pytest.mark.parametrize(
    ("data_type", "default", "value", "text"),
    [
        (bool, "False", True, "True"),
        (int, "0", -4, "-4"),
        (float, "0", 0.25, "0.25"),
        (float, "0", 3, "3"),
        (float, "0", 1e-7, "1e-07"),
        (str, "", "Lésion ü", "Lésion ü"),
        (Method, "HLFD", Method.BASELINE, "BASELINE"),
        (pathlib.PurePosixPath, ".", pathlib.PurePosixPath("/a/b c"), "/a/b c"),
    ],
)
def test_a_value_is_one_string(wrapper, node, data_type, default, value, text):
    parameters = wrap(wrapper, node, field=data_type)
    assert stored(node) == {"field": default}
    parameters.field = value
    assert stored(node) == {"field": text}
    assert parameters.field == value and type(wrap(wrapper, node, field=data_type).field) is type(data_type(value))


def test_a_node_is_a_reference_and_an_empty_parameter(slicer, wrapper, node):
    parameters = wrap(wrapper, node, ct=slicer.vtkMRMLScalarVolumeNode)
    assert stored(node) == {"ct": ""} and parameters.ct is None
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    parameters.ct = ct
    assert node.GetNodeReferenceID("ct") == ct.GetID() and parameters.ct is ct and stored(node) == {"ct": ""}
    parameters.ct = None
    assert node.GetNodeReferenceID("ct") is None
    with pytest.raises(TypeError):
        parameters.ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")


def test_a_removed_node_leaves_none(slicer, wrapper, node):
    parameters = wrap(wrapper, node, ct=slicer.vtkMRMLScalarVolumeNode)
    parameters.ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.RemoveNode(parameters.ct)
    assert parameters.ct is None


@pytest.mark.parametrize("data_type", [Optional[float], float | None])  # noqa: UP045
def test_an_optional_value_is_stored_under_the_number_of_its_type(wrapper, node, data_type):
    parameters = wrap(wrapper, node, threshold=data_type)
    assert stored(node) == {"threshold.1": "True"} and parameters.threshold is None
    parameters.threshold = 0.5
    assert stored(node) == {"threshold.0": "0.5"} and parameters.threshold == 0.5
    parameters.threshold = None
    assert stored(node) == {"threshold.1": "True"} and parameters.threshold is None
    for other in ("0.5", True):
        with pytest.raises(TypeError):
            parameters.threshold = other


def test_a_union_of_nodes(slicer, wrapper, node):
    parameters = wrap(wrapper, node, roi=slicer.vtkMRMLMarkupsROINode | slicer.vtkMRMLModelNode | None)
    model = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLModelNode")
    parameters.roi = model
    assert stored(node) == {"roi.1": ""} and node.GetNodeReferenceID("roi.1") == model.GetID()
    parameters.roi = None
    assert stored(node) == {"roi.2": "True"} and node.GetNodeReferenceID("roi.1") is None


def test_a_list_is_its_length_and_its_elements(wrapper, node):
    parameters = wrap(wrapper, node, layers=list[str])
    assert stored(node) == {"layers.len": "0"}
    parameters.layers = ["encoder1", "encoder2"]
    assert stored(node) == {"layers.len": "2", "layers.0": "encoder1", "layers.1": "encoder2"}
    parameters.layers.append("decoder5")
    parameters.layers[0] = "encoder3"
    assert stored(node)["layers.len"] == "3" and parameters.layers == ["encoder3", "encoder2", "decoder5"]
    del parameters.layers[1:]
    assert stored(node) == {"layers.len": "1", "layers.0": "encoder3"}
    with pytest.raises(TypeError):
        parameters.layers = ["encoder1", 2]
    assert parameters.layers == ["encoder3"]


def test_a_type_that_the_stand_in_lacks_is_refused(wrapper, node):
    with pytest.raises(TypeError, match="dict"):
        wrap(wrapper, node, field=dict[str, int])


# ---- defaults and conditions


def test_a_default_is_stored_at_once_and_only_where_nothing_is(wrapper, node):
    node.SetParameter("device", "cuda:0")
    annotated = Annotated[float, wrapper.WithinRange(0, 1), wrapper.Default(0.5)]
    parameters = wrap(wrapper, node, device=(str, "auto"), opacity=annotated)
    assert stored(node) == {"device": "cuda:0", "opacity": "0.5"}
    assert (parameters.device, parameters.default("device").value) == ("cuda:0", "auto")


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [
        (lambda w: w.WithinRange(0, 1), 1, 1.01),
        (lambda w: w.Minimum(0), 0, -1),
        (lambda w: w.Maximum(0), 0, 1),
        (lambda w: w.Choice([0, 5]), 5, 1),
        (lambda w: w.Exclude([1]), 0, 1),
    ],
)
def test_a_condition_is_kept(wrapper, node, condition, good, bad):
    parameters = wrap(wrapper, node, field=Annotated[float, condition(wrapper)])
    parameters.field = good
    with pytest.raises(ValueError, match=str(bad)):
        parameters.field = bad
    assert parameters.field == good


@pytest.mark.parametrize(("data_type", "value"), [(int, 0.5), (bool, 1), (str, 5), (Method, "HLFD"), (float, "1")])
def test_a_value_of_another_type_is_refused(wrapper, node, data_type, value):
    parameters = wrap(wrapper, node, field=data_type)
    with pytest.raises(TypeError):
        parameters.field = value


def test_none_is_refused_where_the_type_is_not_optional(wrapper, node):
    parameters = wrap(wrapper, node, field=float)
    with pytest.raises(ValueError, match="must not be None"):
        parameters.field = None


def test_a_reserved_name_is_refused(wrapper, node):
    with pytest.raises(ValueError, match="reserved name 'default'"):
        wrap(wrapper, node, default=int)


def test_methods_of_the_class_stay(wrapper, node):
    @wrapper.parameterNodeWrapper
    class Parameters:
        opacity: float = 0.5

        def percent(self):
            return f"{self.opacity:.0%}"

    assert Parameters(node).percent() == "50%" and wrapper.isParameterNodeWrapper(Parameters)


# ---- observers


def test_a_change_is_told_once_and_after_it_is_made(slicer, wrapper, node):
    import vtk

    parameters, seen = wrap(wrapper, node, layers=list[int], opacity=float), []
    tag = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: seen.append(list(parameters.layers)))
    parameters.layers = [1, 2, 3]
    assert seen == [[1, 2, 3]]
    with slicer.util.NodeModify(parameters):
        parameters.opacity = 0.5
        parameters.layers = [1]
        assert len(seen) == 1
    assert seen[1:] == [[1]]
    parameters.RemoveObserver(tag)
    parameters.opacity = 0.1
    assert len(seen) == 2


def test_parameters_come_back_with_a_saved_scene(slicer, wrapper, node, tmp_path):
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    fields = {"ct": slicer.vtkMRMLScalarVolumeNode, "threshold": Optional[float], "method": Method, "layers": list[str]}  # noqa: UP045
    parameters = wrap(wrapper, node, **fields)
    parameters.ct, parameters.threshold, parameters.method, parameters.layers = ct, 0.3, Method.BASELINE, ["a", "b"]
    node.SetSingletonTag("HLFD")
    path = tmp_path / "scene.mrml"
    slicer.mrmlScene.SetURL(str(path))
    slicer.mrmlScene.Commit()
    slicer.mrmlScene.RemoveNode(node)  # Clearing the scene keeps nodes with a singleton tag.
    slicer.mrmlScene.Clear(False)
    slicer.mrmlScene.SetURL(str(path))
    slicer.mrmlScene.Connect()
    restored = wrap(wrapper, slicer.mrmlScene.GetSingletonNode("HLFD", "vtkMRMLScriptedModuleNode"), **fields)
    assert restored.ct.GetName() == "CT"
    assert (restored.threshold, restored.method, list(restored.layers)) == (0.3, Method.BASELINE, ["a", "b"])


# ---- widgets


def check_both_ways(parameters, widget, show, change, value):
    """The widget shows what the parameter becomes, and the parameter becomes what the widget is changed to."""
    tag = parameters.connectParametersToGui({"field": widget})
    assert show(widget) == parameters.field
    change(widget)
    assert parameters.field == value
    parameters.disconnectGui(tag)
    parameters.field = parameters.default("field").value
    assert show(widget) == value


def test_a_check_box(wrapper, node):
    import qt

    parameters = wrap(wrapper, node, field=bool)
    check_both_ways(parameters, qt.QCheckBox(), lambda w: w.checked, lambda w: w.click(), True)


def test_a_push_button_becomes_checkable(wrapper, node):
    import qt

    parameters = wrap(wrapper, node, field=bool)
    check_both_ways(parameters, qt.QPushButton(), lambda w: w.checked, lambda w: w.click(), True)


def test_a_slider_gets_its_range_from_the_annotations(wrapper, node):
    import ctk

    annotated = Annotated[float, wrapper.WithinRange(-1, 3), wrapper.Decimals(3), wrapper.SingleStep(0.125)]
    parameters, slider = wrap(wrapper, node, field=annotated), ctk.ctkSliderWidget()
    check_both_ways(parameters, slider, lambda w: w.value, lambda w: w.setValue(2.125), 2.125)
    assert (slider.minimum, slider.maximum, slider.decimals, slider.singleStep) == (-1, 3, 3, 0.125)


def test_a_spin_box_without_a_range_takes_any_number(wrapper, node):
    import qt

    parameters = wrap(wrapper, node, field=int)
    check_both_ways(parameters, qt.QSpinBox(), lambda w: w.value, lambda w: w.setValue(-123456), -123456)
    with pytest.raises(RuntimeError, match="QSlider"):
        parameters.connectParametersToGui({"field": qt.QSlider()})


def test_a_combo_box_offers_the_choices(wrapper, node):
    import qt

    annotated = Annotated[str, wrapper.Choice(["auto", "cpu"]), wrapper.Default("auto")]
    parameters, box = wrap(wrapper, node, field=annotated), qt.QComboBox()
    check_both_ways(parameters, box, lambda w: w.currentText, lambda w: w.setCurrentIndex(1), "cpu")
    assert box.count == 2
    with pytest.raises(RuntimeError, match="Choice"):
        wrap(wrapper, node, text=str).connectParametersToGui({"text": box})


def test_a_combo_box_shows_the_labels_of_an_enum(wrapper, node):
    import qt

    parameters, box = wrap(wrapper, node, field=Method), qt.QComboBox()
    parameters.connectParametersToGui({"field": box})
    assert box.currentText == "Distilled"
    box.setCurrentIndex(1)
    assert parameters.field is Method.BASELINE


def test_a_line_edit_and_a_path(wrapper, node):
    import ctk
    import qt

    text = wrap(wrapper, node, field=str)
    check_both_ways(text, qt.QLineEdit(), lambda w: w.text, lambda w: w.setText("right kidney"), "right kidney")
    path = wrap(wrapper, node, folder=pathlib.Path)
    edit = ctk.ctkPathLineEdit()
    path.connectParametersToGui({"folder": edit})
    edit.currentPath = "/models"
    assert path.folder == pathlib.Path("/models")


def test_a_node_box_gets_the_node_types(slicer, wrapper, node):
    parameters = wrap(wrapper, node, field=slicer.vtkMRMLScalarVolumeNode | slicer.vtkMRMLModelNode | None)
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    box = slicer.qMRMLNodeComboBox()
    box.noneEnabled = True
    box.setMRMLScene(slicer.mrmlScene)
    parameters.connectParametersToGui({"field": box})
    assert list(box.nodeTypes) == ["vtkMRMLScalarVolumeNode", "vtkMRMLModelNode"]
    box.setCurrentNode(ct)
    assert parameters.field is ct
    parameters.field = None
    assert box.currentNode() is None
    parameters.field = ct
    slicer.mrmlScene.RemoveNode(ct)
    assert box.currentNode() is None and parameters.field is None


def test_a_panel_is_connected_by_the_property_of_its_widgets(wrapper, node):
    import qt

    panel = qt.QWidget()
    box, other = qt.QCheckBox(panel), qt.QCheckBox(panel)
    box.setProperty("SlicerParameterName", "attention")
    parameters = wrap(wrapper, node, attention=(bool, True))
    tag = parameters.connectGui(panel)
    assert box.checked and not other.checked
    parameters.attention = False
    assert not box.checked
    parameters.disconnectGui(tag)
    parameters.attention = True
    box.click()
    box.click()
    assert not box.checked and parameters.attention


def test_a_name_that_is_no_parameter_is_refused(wrapper, node):
    import qt

    box = qt.QCheckBox()
    with pytest.raises(ValueError, match="attention"):
        wrap(wrapper, node, field=bool).connectParametersToGui({"attention": box})


def test_a_pair_that_slicer_does_not_connect_is_refused(wrapper, node):
    import qt

    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        wrap(wrapper, node, field=float).connectParametersToGui({"field": qt.QLineEdit()})
