"""Front-end files that come out of installed packages."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.contrib.staticfiles.finders import BaseFinder
from django.core.files.storage import FileSystemStorage


class PlotlyFinder(BaseFinder):
    """Serves `vendor/plotly.min.js` out of the Plotly package, without importing it."""

    name = "vendor/plotly.min.js"

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        spec = find_spec("plotly")
        locations = list(spec.submodule_search_locations or []) if spec else []
        self.folder = Path(locations[0]) / "package_data" if locations else Path()

    def find(self, path: str, find_all: bool = False, **_kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        """The file's place, for its one name."""
        found = str(self.folder / "plotly.min.js") if path == self.name else None
        if find_all:
            return [found] if found else []
        return found

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterable[Any]:
        """The one file there is."""
        storage = FileSystemStorage(location=self.folder)
        storage.prefix = "vendor"  # type: ignore[attr-defined]
        yield "plotly.min.js", storage
