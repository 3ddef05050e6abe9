"""Compiling with Numba, and where the compiled code is kept between runs.

Functions marked `@compiled` are compiled at their first call and kept on disk, so that the next run need not compile.
The folder is `HANDLETIME_CACHE_DIR`, else `handletime` in `XDG_CACHE_HOME` or `~/.cache`. Where none can be
written (a container, a Spark executor), they are compiled in memory, and one log line says so.

Numba sees that a function's own file has changed, but not that a function it calls has changed in another file: what
it keeps would then be wrong, or crash. So each state of the sources has a folder of its own. So have each place where
the sources lie, and each Numba, Python and processor: a folder is either complete or not.

**Memory.** Numba counts references to arrays and frees an array after the last line that names it. It does not count
records: `state = states[0]` is a bare pointer into the array. If nothing names `states` any more, its memory is freed,
and whoever uses `state` reads and writes what belongs to somebody else by then: a crash, or a wrong number. So:

- A record is taken only from an array that lasts until the function ends. That is one that the function was given (a
  parameter that is not bound anew, a field of it, or a slice of one of these), or one that it makes, binds once and
  returns at each end. What needs a record of another array gets the array from its caller, or is made a function of its
  own that gets it.
- The same holds where the record is only read or copied at once: `states[0].time`, `records[i] = states[0]`.
- A function returns no record.
- A borrowing function counts nothing at all. It makes no array, calls no function that may make one, and returns
  numbers only: no array, slice or record.

Slices and tuples of arrays are counted, and so may be handed on and kept.
`tests/house/test_compiled.py` reads the sources for this; `tests/segments/test_memory_reuse.py` runs them under
allocators that hand out freed memory at once, and under valgrind.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys

F = TypeVar("F", bound=Callable[..., object])
STATES_KEPT: Final = 8
"""The number of states of the sources whose compiled code stays: older versions may still be in use."""
_COMPLETE: Final = "complete"
"""An empty file beside the code says that all of it is there."""
_IS_STATE: Final = re.compile("[0-9a-f]{16}")


def _state_of_sources() -> str:
    """A name for the state of all compiled sources, and for what compiles them."""
    here = Path(__file__).parent
    processor = cpu_target.target_context.codegen().magic_tuple()
    digest = hashlib.sha256(repr((here, numba.__version__, sys.version, processor)).encode())
    for source in (Path(__file__), *sorted(here.glob("events/*.py")), *sorted(here.glob("segments/*.py"))):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path | None:
    """A folder that can be written, made where it is missing; None where there is none."""
    named = os.environ.get("HANDLETIME_CACHE_DIR")
    try:
        cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        home = Path(named) if named else Path(cache_home) / "handletime"
        folder = home / _state_of_sources()
        is_new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        if is_new:
            _remove_old(home)
        others = next((path for path in folder.rglob("*") if not os.access(path, os.R_OK)), None)
        if others is not None:
            logging.getLogger(__name__).warning(
                "%s is another user's and cannot be read; compiling in memory at every start "
                "(give what is in the folder to the user of this process, or remove it)",
                others,
            )
            return None
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):
        logging.getLogger(__name__).warning(
            "no folder for compiled code can be written; compiling in memory at every start "
            "(set HANDLETIME_CACHE_DIR to a folder that can be written)"
        )
        return None


def _remove_old(home: Path) -> None:
    """Removes the compiled code of other states of the sources, except the last used ones."""
    folders = [path for path in home.iterdir() if _IS_STATE.fullmatch(path.name)]
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[STATES_KEPT:]:
        shutil.rmtree(folder, ignore_errors=True)


_folder = _cache_folder()
if _folder is not None:
    numba.config.CACHE_DIR = str(_folder)  # type: ignore[attr-defined]
# A process that takes all its code from the cache, and first a function that counts no references, would crash.
rtsys.initialize(cpu_target.target_context)


def can_be_kept() -> bool:
    """Whether there is a folder for compiled code."""
    return _folder is not None


def is_begun(room: str) -> bool:
    """Whether any compiled code of a room is there. If not, this process is the first to compile it."""
    return _folder is not None and any(_folder.glob(f"{room}_*/*.nbc"))


def is_complete() -> bool:
    """Whether all that is ever compiled is there."""
    return _folder is not None and (_folder / _COMPLETE).exists()


def is_now_complete() -> None:
    """Marks the compiled code as complete. Raises OSError."""
    if _folder is not None:
        (_folder / _COMPLETE).touch()


def compiled(function: F) -> F:
    """Marks a function for compilation, without the interpreter's lock while it runs.

    It takes records only from arrays that last as long as it runs (see above).
    """
    return cast(F, numba.njit(cache=_folder is not None, nogil=True)(function))


def borrowing(function: F) -> F:
    """Marks a function for compilation that makes no array and returns numbers. It counts no references to its arrays.

    Counting costs more than most of these functions, above all where two threads count the same ones. The function is
    inlined: handing it all arrays of a table would also cost more than most of them do.
    """
    uncounted: Any = {"_nrt": False, "forceinline": True}
    return cast(F, numba.njit(cache=_folder is not None, nogil=True, **uncounted)(function))
