"""An `hlfd` command as a child process that the panel waits for without standing still."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt
from HLFDSegmentationLib.child_process.process_tree import ended_by_system
from HLFDSegmentationLib.errors import OutputError
from HLFDSegmentationLib.output.private_folder import PrivateFolder
from HLFDSegmentationLib.slicer_tools.slicer_python import end_python, start_python
from slicer.i18n import tr as _

from ..runs.training_process import LIBRARY_FOLDERS

LOOK_MS = 100


class Child:
    """Runs `hlfd ARGUMENTS`, and tells when it has ended. One that is killed is not told of.

    Args:
        arguments: of the command.
        on_line: called with each line that it prints.
        on_ended: called at the end with "" where it succeeded, otherwise with the sentence why it did not.

    Raises:
        OutputError: it cannot be started, or the temporary folder cannot be used.
    """

    def __init__(
        self, arguments: Sequence[str], on_line: Callable[[str], None], on_ended: Callable[[str], None]
    ) -> None:
        self._on_line = on_line
        self._on_ended = on_ended
        self._last = self._error = ""
        self._read = 0
        self._folder = PrivateFolder()
        self._output = self._folder.path / "output.txt"
        try:
            # It is killed when it is cancelled, and leaves copies of the CTs in its temporary folder then.
            self._process = start_python(
                LIBRARY_FOLDERS,
                "HLFDTrainingLib.cli",
                *arguments,
                output=self._output,
                temporary=self._folder.path,
            )
        except OutputError:
            self._folder.remove()
            raise
        self._timer = qt.QTimer()
        self._timer.setInterval(LOOK_MS)
        self._timer.connect("timeout()", self._look)
        self._timer.start()

    @property
    def running(self) -> bool:
        """Whether its end is still to be told."""
        return bool(self._timer.active)

    def cancel(self) -> None:
        """Ends it at once."""
        if self.running:
            self._timer.stop()
            end_python(self._process)
            self._folder.remove()

    def _look(self) -> None:
        code = self._process.poll()
        self._take_lines()
        if code is not None:
            self._timer.stop()
            self._folder.remove()
            self._on_ended("" if code == 0 else self._error or self._unexpected(code))

    def _take_lines(self) -> None:
        with open(self._output, "rb") as stream:
            stream.seek(self._read)
            content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in filter(None, map(str.strip, whole.decode("utf-8", errors="replace").split("\n"))):
            if line.startswith("hlfd: "):
                self._error = line.removeprefix("hlfd: ")
            self._last = line
            self._on_line(line)

    def _unexpected(self, code: int) -> str:
        if ended_by_system(self._last):
            return _(
                "The system ended the program, most likely because the memory did not suffice. Close other programs, "
                "and try again."
            )
        reason = self._last or _("exit code {code}").format(code=code)
        return _("The program ended unexpectedly: {reason}. Close other programs, and try again.").format(reason=reason)
