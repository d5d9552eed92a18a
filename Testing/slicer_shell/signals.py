"""Signals of the stand-ins that are no Qt objects, connected as PythonQt connects: by their signature."""

import sys
import traceback
from collections.abc import Callable

# What slots of these signals raised, as text: PythonQt prints it and goes on; a test must fail on it.
slot_errors: list[str] = []


class SignalOwner:
    """An object with signals: `SIGNALS` lists their signatures, e.g. "layoutChanged(int)"."""

    SIGNALS: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._slots: dict[str, list[Callable]] = {signature: [] for signature in self.SIGNALS}

    def connect(self, signature: str, slot: Callable) -> bool:
        """Call `slot` at each emission; a signal that does not exist is a failure of the test."""
        if signature not in self._slots:
            slot_errors.append(f"{type(self).__name__} has no signal {signature}")
            return False
        self._slots[signature].append(slot)
        return True

    def disconnect(self, signature: str, slot: Callable) -> bool:
        """Stop calling `slot`; whether it was connected."""
        if slot not in self._slots.get(signature, ()):
            return False
        self._slots[signature].remove(slot)
        return True

    def disconnect_all(self, signature: str) -> None:
        """Forget the slots of a signal."""
        self._slots[signature].clear()

    def emit(self, signature: str, *arguments: object) -> None:
        """Call the connected slots; what one raises is printed and recorded, as a slot cannot raise into Qt."""
        for slot in list(self._slots[signature]):
            try:
                slot(*arguments)
            except Exception:
                slot_errors.append(traceback.format_exc())
                print(slot_errors[-1], file=sys.stderr)
