"""Runs pytest within the program that `host.cpp` is; `run.sh` calls it."""

# ruff: noqa: F821, E402 (ARGUMENTS and APPLICATION come from the program; modules are found once their folders are named)

import os
import site
import sys
from pathlib import Path

HERE = Path(os.environ["HLFD_CHECKOUT"]) / "Testing" / "real_pythonqt"
BUILT = Path(os.environ["REAL_PYTHONQT"])

sys.path[:0] = [
    str(HERE),
    str(BUILT / "python"),
    str(BUILT / "ctk" / "bin"),
    str(BUILT / "ctk" / "bin" / "Python"),
]
site.addsitedir(os.environ["SITE_PACKAGES"])
# CTK's Python leaves its classes out where the program is called python.
sys.executable = str(BUILT / "interpreter")
sys.argv = ["pytest", *ARGUMENTS]

import pytest
from slicer_shell.shell import start

TABLE, RELOAD, SAMPLES = (
    "the view of a table is empty here",
    "nothing is reloaded here",
    "there are no Sample Data here",
)
NOT_HERE = {
    "test_list_and_table_are_as_high_as_what_is_in_them": TABLE,
    "test_the_measures_have_headings_and_cannot_be_typed_over": TABLE,
    "test_the_measures_begin_with_what_a_radiologist_wants": TABLE,
    "test_reloading_the_module": RELOAD,
    "test_the_worker_ends_with_the_module[reload]": RELOAD,
    "test_reloading_one_module_leaves_neither_with_classes_of_before": RELOAD,
    "test_sample_data_are_registered_and_taken_from_the_cache": SAMPLES,
    "test_a_generated_ct_that_cannot_be_made_is_told": SAMPLES,
    "test_a_second_click_while_the_ct_is_generated_starts_nothing": SAMPLES,
}
"""Tests, whole or with one parameter, of what this program has not."""


class Skips:
    """A plugin of pytest."""

    @staticmethod
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        for item in items:
            if reason := NOT_HERE.get(item.name) or NOT_HERE.get(item.originalname):
                item.add_marker(pytest.mark.skip(reason=reason))


start(APPLICATION)
STATUS = int(pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", *ARGUMENTS], plugins=[Skips]))
