"""How much memory this process takes, and took at most since a moment.

Linux keeps a high-water mark of the resident set (`VmHWM` in /proc/self/status), which writing 5 to
/proc/self/clear_refs sets back to what is resident now. Elsewhere there is no such mark, and nothing is measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")


def resident() -> int | None:
    """Bytes that are resident now."""
    return _status("VmRSS")


def peak() -> int | None:
    """Bytes that were resident at most since `forget_peak`."""
    return _status("VmHWM")


def forget_peak() -> bool:
    """Begins anew; False where the system cannot."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int | None:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)
