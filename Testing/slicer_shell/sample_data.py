"""The Sample Data module: data sets are registered, clicked on and loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from urllib.parse import unquote, urlparse

import slicer


@dataclass
class SampleDataSource:
    """A data set that the Sample Data module offers."""

    sampleName: str | None = None  # noqa: N815
    uris: str | list | None = None
    fileNames: str | list | None = None  # noqa: N815
    nodeNames: str | list | None = None  # noqa: N815
    customDownloader: Callable | None = None  # noqa: N815
    thumbnailFileName: str | None = None  # noqa: N815
    loadFileTypes: str | list | None = None  # noqa: N815
    loadFiles: bool | list | None = None  # noqa: N815
    loadFileProperties: dict | None = None  # noqa: N815
    checksums: str | list | None = None
    loadFileType: str | None = None  # noqa: N815

    def __post_init__(self) -> None:
        """One or several files are lists from here on, as in Slicer.

        Raises:
            ValueError: there is no address, or the lists differ in length.
        """
        if self.uris is None:
            raise ValueError("sample data need an address, also where they have a downloader of their own")
        self.uris = self._listed(self.uris, 1)
        for name in ("fileNames", "nodeNames", "loadFileTypes", "loadFiles", "checksums"):
            setattr(self, name, self._listed(getattr(self, name), len(self.uris)))
            if len(getattr(self, name)) != len(self.uris):
                raise ValueError(f"All fields of sample data source must have the same length, {name} has not")

    @staticmethod
    def _listed(value: object, length: int) -> list:
        return list(value) if isinstance(value, list | tuple) else [value] * length


class SampleDataLogic:
    """What modules call to offer data sets, and scripts to open them."""

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str) -> None:  # noqa: N802
        _categories("sampleDataSourceCategories").setdefault(category, {})["title"] = title

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **source: object) -> None:  # noqa: N802
        sources = _categories("sampleDataSources").setdefault(category, [])
        if not any(known.sampleName == source.get("sampleName") for known in sources):
            sources.append(SampleDataSource(**source))

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> object:  # noqa: N802
        sources = _categories("sampleDataSources")
        return sources if category is None else sources.get(category, [])

    def sourceForSampleName(self, name: str) -> SampleDataSource | None:  # noqa: N802
        every = (source for sources in _categories("sampleDataSources").values() for source in sources)
        return next((source for source in every if source.sampleName == name), None)

    def downloadSample(self, name: str) -> object:  # noqa: N802
        return self.downloadSamples(name)[0]

    def downloadSamples(self, name: str) -> list:  # noqa: N802
        """Load a registered data set from its addresses. As in Slicer, this passes by a downloader of its own."""
        source = self.sourceForSampleName(name)
        return [] if source is None else self.downloadFromSource(source)

    def downloadFromSource(self, source: SampleDataSource) -> list:  # noqa: N802
        """Load the files of a source. Only files of this computer can be had: tests have no network."""
        loaded = []
        for uri, name, load in zip(source.uris, source.nodeNames, source.loadFiles):
            path = unquote(urlparse(uri).path)
            if urlparse(uri).scheme != "file":
                raise RuntimeError(f"the stand-in for Sample Data downloads nothing: {uri}")
            loaded.append(path if load is False else slicer.util.loadNodeFromFile(path, None, {"name": name}))
        return loaded


def click_on_sample(name: str) -> None:
    """What a click on the thumbnail of a data set does: its own downloader is called where it has one."""
    logic = SampleDataLogic()
    source = logic.sourceForSampleName(name)
    (source.customDownloader or logic.downloadFromSource)(source)


def make_sample_data_module() -> ModuleType:
    """The module to install as `SampleData`."""
    module = ModuleType("SampleData", "stand-in")
    module.SampleDataSource = SampleDataSource
    module.SampleDataLogic = SampleDataLogic
    module.downloadSample = lambda name: SampleDataLogic().downloadSample(name)
    module.downloadSamples = lambda name: SampleDataLogic().downloadSamples(name)
    return module


def _categories(name: str) -> dict:
    if not hasattr(slicer.modules, name):
        setattr(slicer.modules, name, {})
    return getattr(slicer.modules, name)
