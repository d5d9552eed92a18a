"""In place of PySide6, whose widgets cannot be beside those of PythonQt: what asks for it is skipped."""

import pytest

pytest.skip("this needs the stand-in's widgets, which are made with PySide6", allow_module_level=True)
