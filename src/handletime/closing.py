"""Things that are closed when the block that they are used in is left."""

from __future__ import annotations

from typing import Self


class Closing:
    """A context manager that closes itself at its end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends it."""
        raise NotImplementedError
