"""The stand-in of PythonQt: what tests of the panel rely on. Testing/real_pythonqt has the real one to compare with."""

import numpy as np
import pytest


@pytest.fixture
def slicer(slicer_shell):
    return slicer_shell


@pytest.fixture
def qt(slicer_shell):
    import qt

    return qt


@pytest.fixture
def ctk(slicer_shell):
    import ctk

    return ctk


@pytest.fixture
def scene(slicer_shell):
    return slicer_shell.mrmlScene


@pytest.fixture
def slot_errors(slicer_shell):
    """What slots raised; the test expects it."""
    from slicer_shell.signals import slot_errors

    yield slot_errors
    slot_errors.clear()


PANEL = """<ui version="4.0"><class>Panel</class>
<widget class="qMRMLWidget" name="Panel"><layout class="QVBoxLayout">
 <item><widget class="ctkCollapsibleButton" name="advanced">
  <property name="text"><string>Advanced</string></property><property name="collapsed"><bool>true</bool></property>
  <layout class="QFormLayout">
   <item row="0" column="0"><widget class="QLabel" name="label">
    <property name="text"><string>Threshold</string></property></widget></item>
   <item row="0" column="1"><widget class="ctkSliderWidget" name="slider">
    <property name="maximum"><double>1.0</double></property><property name="singleStep"><double>0.05</double></property>
    <property name="SlicerParameterName" stdset="0"><string>threshold</string></property></widget></item>
   <item row="1" column="1"><widget class="ctkPathLineEdit" name="path">
    <property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable</set></property></widget></item>
  </layout></widget></item>
 <item><widget class="qMRMLNodeComboBox" name="ct">
  <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
  <property name="noneEnabled"><bool>true</bool></property></widget></item>
</layout></widget>
<connections><connection><sender>Panel</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
 <receiver>ct</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


def process_events(milliseconds: int = 0) -> None:
    """Lets Qt work, and waits for timers that are due within the time."""
    import qt

    loop = qt.QEventLoop()
    qt.QTimer.singleShot(milliseconds, loop.quit)
    loop.exec_()


@pytest.fixture
def panel(tmp_path, slicer):
    path = tmp_path / "panel.ui"
    path.write_text(PANEL)
    return slicer.util.loadUI(str(path))


# ---- properties


def test_a_property_is_no_method(qt):
    button = qt.QPushButton("go")
    assert button.text == "go"
    with pytest.raises(TypeError, match="'str' object is not callable"):
        button.text()


def test_setters_and_getters_of_another_name_are_methods(qt):
    button = qt.QPushButton()
    button.setText("stop")
    button.setEnabled(False)
    assert (button.text, button.enabled, button.isEnabled()) == ("stop", False, False)


def test_an_inherited_getter_is_a_property_too(qt):
    assert qt.QPushButton("go").sizeHint.height() > 0


@pytest.mark.parametrize("name", ["enable", "clicked", "setText"])
def test_a_widget_takes_no_attribute_of_ours(name, qt):
    with pytest.raises(AttributeError, match="creating new attributes on C\\+\\+ objects is not allowed"):
        setattr(qt.QPushButton(), name, True)


def test_a_subclass_takes_attributes_of_its_own(qt):
    class Panel(qt.QWidget):
        pass

    panel = Panel()
    panel.run = 3
    panel.toolTip = "help"
    assert (panel.run, panel.toolTip) == (3, "help")


def test_a_read_only_property_is_refused(qt):
    with pytest.raises(AttributeError, match="not writable"):
        qt.QComboBox().count = 3


@pytest.mark.parametrize("value", [30.7, np.int64(30)])
def test_numbers_become_what_the_property_is(value, qt):
    bar = qt.QProgressBar()
    bar.value = value
    assert bar.value == 30
    bar.setValue(0)
    bar.setValue(value)
    assert bar.value == 30


@pytest.mark.parametrize("value", [np.float32(30.7), np.float64(30.7), np.bool_(True), None, "30"])
def test_what_is_no_integer_is_refused_by_what_wants_one(value, qt):
    bar = qt.QProgressBar()
    with pytest.raises(AttributeError, match="does not accept"):
        bar.value = value
    with pytest.raises(ValueError, match=r"30|True|None"):
        bar.setValue(value)


@pytest.mark.parametrize("value", [np.float32(1.5), np.float64(1.5)])
def test_numpys_numbers_become_doubles(value, qt):
    spin = qt.QDoubleSpinBox()
    spin.value = value
    assert spin.value == 1.5
    spin.setValue(2 * value)
    assert spin.value == 3.0


@pytest.mark.parametrize(("value", "text"), [(None, "None"), (5, "5")])
def test_everything_becomes_a_text(value, text, qt):
    label = qt.QLabel()
    label.text = value
    assert label.text == text
    label.setText(value)
    assert label.text == text


def test_enums_are_ints(qt):
    box = qt.QCheckBox()
    box.checked = True
    assert isinstance(box.checkState(), int) and box.checkState() == 2 == qt.Qt.Checked
    label = qt.QLabel()
    label.alignment = 0x84
    assert label.alignment == qt.Qt.AlignCenter


def test_name_and_class_name_are_those_of_slicer(qt):
    button = qt.QPushButton()
    button.name = "apply"
    assert (button.objectName, button.className()) == ("apply", "QPushButton")


def test_what_qt_6_dropped_is_absent(qt):
    assert not hasattr(qt, "QRegExp") and not hasattr(qt, "QTextCodec")
    assert hasattr(qt, "QAction") and hasattr(qt, "QShortcut")


# ---- signals


def test_a_slot_gets_as_many_arguments_as_it_takes(qt):
    button, got = qt.QPushButton(), []

    class Listener:
        def heard(self, checked="not given"):
            got.append(("method", checked))

    button.clicked.connect(lambda *arguments: got.append(arguments))
    button.clicked.connect(lambda: got.append("none"))
    button.clicked.connect(Listener().heard)
    button.connect("clicked(bool)", lambda *arguments: got.append(arguments))
    button.connect("clicked()", lambda *arguments: got.append(arguments))
    button.click()
    assert got == [(False,), "none", ("method", False), (False,), ()]


@pytest.mark.parametrize("signal", ["klicked()", "clicked(int)", "currentIndexChanged(QString)"])
def test_an_unknown_signal_is_a_failure(signal, qt):
    widget = qt.QComboBox() if signal.startswith("current") else qt.QPushButton()
    with pytest.raises(AttributeError, match="has no signal"):
        widget.connect(signal, print)


def test_a_signal_of_qt_6_only_is_a_failure(qt):
    with pytest.raises(AttributeError, match="checkStateChanged"):
        qt.QCheckBox().checkStateChanged.connect(print)


def test_a_slot_is_disconnected(qt):
    button, got = qt.QPushButton(), []

    def heard():
        got.append("heard")

    button.connect("clicked()", heard)
    assert button.disconnect("clicked()", heard) and not button.disconnect("clicked()", heard)
    button.clicked.connect(heard)
    assert button.clicked.disconnect(heard)
    button.click()
    assert got == []


def test_an_exception_in_a_slot_stays_there_and_is_kept(qt, slot_errors, capsys):
    button, got = qt.QPushButton(), []
    button.clicked.connect(lambda: 1 / 0)
    button.clicked.connect(lambda: got.append("next"))
    button.click()
    assert got == ["next"]
    assert "ZeroDivisionError" in slot_errors[0] and "ZeroDivisionError" in capsys.readouterr().err


def test_a_single_shot_comes_once_and_its_exception_is_kept(qt, slot_errors):
    got = []
    qt.QTimer.singleShot(1.0, lambda: (got.append("shot"), 1 / 0))
    process_events(20)
    assert got == ["shot"] and len(slot_errors) == 1


def test_a_timer_is_made_a_single_shot_by_its_setter(qt):
    timer, got = qt.QTimer(), []
    with pytest.raises(AttributeError, match="singleShot"):
        timer.singleShot = True
    timer.setSingleShot(True)
    timer.interval = 1
    timer.timeout.connect(lambda: got.append("once"))
    timer.start()
    process_events(20)
    assert got == ["once"] and not timer.active


# ---- dialogs


def test_a_dialog_is_answered_as_the_test_said(qt, ctk):
    from slicer_shell import dialogs

    dialogs.answer(qt.QMessageBox.Yes, "/models/kidney.zip")
    box = ctk.ctkMessageBox()
    box.text = "Remove the model?"
    assert box.exec_() == qt.QMessageBox.Yes
    assert qt.QFileDialog.getOpenFileName(None, "Model", "") == "/models/kidney.zip"
    assert "Remove the model?" in dialogs.shown[0] and "Model" in dialogs.shown[1]


def test_a_button_box_gets_its_buttons_from_a_setter(qt):
    buttons = qt.QDialogButtonBox.Ok | qt.QDialogButtonBox.Cancel
    with pytest.raises(TypeError, match="setStandardButtons"):
        qt.QDialogButtonBox(buttons)
    box = qt.QDialogButtonBox()
    box.setStandardButtons(buttons)
    assert box.button(qt.QDialogButtonBox.Ok)


def test_an_unexpected_dialog_fails_the_test():
    import qt
    from slicer_shell.dialogs import UnexpectedDialogError

    with pytest.raises(UnexpectedDialogError, match="Disk full"):
        qt.QMessageBox.critical(None, "Error", "Disk full")


# ---- .ui files and CTK's widgets


def test_a_panel_is_loaded_with_its_names_and_properties(panel, ctk, slicer):
    ui = slicer.util.childWidgetVariables(panel)
    assert type(panel) is slicer.qMRMLWidget and type(ui.slider) is ctk.ctkSliderWidget
    assert (ui.slider.maximum, ui.slider.singleStep) == (1.0, 0.05)
    assert ui.slider.property("SlicerParameterName") == "threshold"
    assert ui.path.filters == ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable
    assert ui.ct.nodeTypes == ["vtkMRMLScalarVolumeNode"] and ui.ct.noneEnabled
    assert not hasattr(panel, "slider")


def test_a_property_that_a_widget_lacks_is_a_failure(tmp_path, slicer):
    path = tmp_path / "panel.ui"
    path.write_text(PANEL.replace('"noneEnabled"', '"noneEnable"'))
    with pytest.raises(AttributeError, match="noneEnable"):
        slicer.util.loadUI(str(path))


def test_a_class_that_nobody_has_is_a_failure(tmp_path, slicer):
    path = tmp_path / "panel.ui"
    path.write_text(PANEL.replace("ctkPathLineEdit", "ctkPathEdit"))
    with pytest.raises(LookupError, match="ctkPathEdit"):
        slicer.util.loadUI(str(path))


def test_a_collapsed_section_hides_its_widgets(panel, slicer):
    ui = slicer.util.childWidgetVariables(panel)
    panel.show()
    process_events()
    assert ui.advanced.collapsed and not ui.label.visible
    ui.advanced.collapsed = False
    process_events()
    assert ui.label.visible and ui.advanced.height > ui.label.height
    ui.advanced.click()
    assert ui.advanced.collapsed and not ui.label.visible


def test_a_hidden_widget_stays_hidden_when_its_section_opens(panel, slicer):
    ui = slicer.util.childWidgetVariables(panel)
    ui.label.visible = False
    panel.show()
    process_events()
    ui.advanced.collapsed = False
    process_events()
    assert not ui.label.visible and ui.slider.visible


def test_a_slider_keeps_its_number_within_its_range(ctk):
    slider, got = ctk.ctkSliderWidget(), []
    slider.minimum, slider.maximum, slider.singleStep = -1, 1, 0.1
    slider.connect("valueChanged(double)", got.append)
    slider.value = np.float32(0.5)
    slider.setValue(7)
    assert got == [0.5, 1.0] and slider.value == 1.0
    slider.maximum = 0.25
    assert slider.value == 0.25
    with pytest.raises(AttributeError, match="not allowed"):
        slider.valve = 0.5


def test_a_path_is_browsed_for(panel, slicer):
    from slicer_shell import dialogs

    ui, got = slicer.util.childWidgetVariables(panel), []
    ui.path.currentPathChanged.connect(got.append)
    dialogs.answer("/models")
    ui.path.browse()
    assert ui.path.currentPath == "/models" and got == ["/models"]
    assert "getExistingDirectory" in dialogs.shown[0]


# ---- widgets of nodes


def volumes_box(slicer, **properties):
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    for name, value in properties.items():
        setattr(box, name, value)
    box.setMRMLScene(slicer.mrmlScene)
    return box


def test_the_scene_reaches_the_widgets_that_the_panel_connects(panel, scene, slicer):
    ui = slicer.util.childWidgetVariables(panel)
    ct = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    panel.setMRMLScene(scene)
    assert ui.ct.currentNode() is None and ui.ct.nodeFromIndex(0) is ct


def test_a_box_with_none_chooses_nothing_by_itself(scene, slicer):
    box = volumes_box(slicer, noneEnabled=True)
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    assert box.currentNode() is None and box.currentNodeID == ""
    without_none = volumes_box(slicer)
    assert without_none.currentNode().GetName() == "CT"


def test_choosing_a_node_is_told_in_all_forms(scene, slicer):
    box, got = volumes_box(slicer, noneEnabled=True), []
    ct = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    box.connect("currentNodeChanged(vtkMRMLNode*)", got.append)
    box.connect("currentNodeChanged(bool)", got.append)
    box.currentNodeChanged.connect(got.append)
    box.setCurrentNode(ct)
    assert got == [ct, ct, True]
    box.currentNodeID = ct.GetID()
    assert len(got) == 3
    box.setCurrentNode(None)
    assert got[3:] == [None, None, False]


def test_a_node_that_the_program_chooses_is_told_as_a_choice_of_the_users(scene, slicer):
    """As in Slicer, which sends a key to its list for that; not where it was chosen already, nor for none."""
    box, got = volumes_box(slicer, noneEnabled=True), []
    ct = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    box.connect("nodeActivated(vtkMRMLNode*)", got.append)
    for node in (ct, ct, None):
        box.setCurrentNode(node)
    assert got == [ct]


def test_a_removed_node_is_no_longer_chosen(scene, slicer):
    box = volumes_box(slicer)
    first, second = (scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in "ab")
    box.setCurrentNode(first)
    scene.RemoveNode(first)
    assert box.currentNode() is second
    scene.Clear(False)
    assert box.currentNode() is None and box.nodeCount() == 0


def test_which_nodes_are_listed(scene, slicer):
    box = volumes_box(slicer)
    ct = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    assert box.nodeCount() == 2
    box.showChildNodeTypes = False
    assert box.nodeCount() == 1
    ct.SetHideFromEditors(True)
    assert box.nodeCount() == 0
    box.showHidden = True
    assert box.nodeCount() == 1
    box.addAttribute("vtkMRMLScalarVolumeNode", "HLFD.Layer", "encoder1")
    assert box.nodeCount() == 0
    ct.SetAttribute("HLFD.Layer", "encoder1")
    assert box.nodeCount() == 1


def test_a_new_node_gets_the_base_name_and_is_chosen(scene, slicer):
    box = volumes_box(slicer, baseName="Result", noneEnabled=True)
    node = box.addNode()
    assert (node.GetName(), node.GetClassName()) == ("Result", "vtkMRMLScalarVolumeNode")
    assert box.currentNode() is node


def test_a_box_that_is_gone_hears_no_more(scene, capfd, slicer):
    box = volumes_box(slicer)
    box.delete()
    scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    assert "Traceback" not in capfd.readouterr().err


def test_the_button_shows_the_surface(scene, slicer):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "tumors")
    node.CreateDefaultDisplayNodes()
    button = slicer.qMRMLSegmentationShow3DButton()
    button.setSegmentationNode(node)
    assert not button.enabled
    ball = slicer.vtkOrientedImageData()
    ball.SetDimensions(8, 8, 8)
    ball.AllocateScalars(3, 1)
    ball.GetPointData().GetScalars().Fill(0)
    for index in np.ndindex(4, 4, 4):
        ball.SetScalarComponentFromDouble(*(2 + i for i in index), 0, 1)
    node.AddSegmentFromBinaryLabelmapRepresentation(ball, "tumor")
    assert button.enabled and not button.checked
    button.click()
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    button.click()
    assert not node.GetSegmentation().ContainsRepresentation("Closed surface")


def test_a_table_and_segments_are_listed(scene, slicer, qt):
    table = scene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(table, np.array([[1.5, 2.0]]), ["a", "b"])
    view = slicer.qMRMLTableView()
    view.setMRMLTableNode(table)
    # As in Slicer, the names are a first row that can be edited, unless the node says that they are headings.
    assert [view.model().index(row, 0).data() for row in range(2)] == ["a", "1.5"]
    table.SetUseColumnTitleAsColumnHeader(True)
    assert view.model().rowCount() == 1 and view.model().index(0, 0).data() == "1.5"
    table.SetColumnTitle("a", "Volume")
    table.SetColumnUnitLabel("a", "mL")
    heads = [view.model().headerData(column, qt.Qt.Horizontal) for column in range(2)]
    assert heads == ["Volume [mL]", "b"]
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segment_id = segmentation.GetSegmentation().AddEmptySegment("", "tumor")
    segments = slicer.qMRMLSegmentsTableView()
    segments.setSegmentationNode(segmentation)
    segments.setSelectedSegmentIDs([segment_id])
    assert segments.selectedSegmentIDs() == (segment_id,)
