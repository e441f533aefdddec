"""``contextlib.suppress`` without contextlib, which imports collections and functools: 200 KB in every monitor."""

from __future__ import annotations


class suppress:
    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)
