"""ImageNet's development kit: from the numbers of the validation images to labels in the order of sorted WordNet ids."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitfaith.errors import ArtifactError
from vitfaith.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRUTH, META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_AWAY = "take both files from ILSVRC2012_devkit_t12.tar.gz"


@dataclass(frozen=True)
class Devkit:
    """Contents of the devkit.

    Attributes:
        labels: (50,000,) labels of the validation images in the order of their numbers.
        wnids: WordNet ids in the order of the labels.
        names: words for the classes in the same order.
    """

    labels: NDArray[np.int64]
    wnids: list[str]
    names: list[str]


def _contents(path: Path) -> dict[str, bytes]:
    """The two files, from a folder (or its subfolder data) or from the kit's archive."""
    found: dict[str, bytes] = {}
    try:
        if path.is_dir():
            for name in (TRUTH, META):
                for candidate in (path / name, path / "data" / name, path / "ILSVRC2012_devkit_t12" / "data" / name):
                    if candidate.is_file():
                        found[name] = candidate.read_bytes()
        elif path.is_file():
            with tarfile.open(path) as archive:
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if name in (TRUTH, META) and (file := archive.extractfile(member)) is not None:
                        found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ArtifactError(f"devkit '{path}' cannot be read ({error}); fetch it again") from error
    for name in (TRUTH, META):
        if name not in found:
            raise ArtifactError(f"devkit '{path}' has no {name}; {_AWAY}")
    return found


def read_devkit(path: Path) -> Devkit:
    """The kit in a folder or archive.

    Raises:
        ArtifactError: a file is missing or damaged, or names a class that is none of the leaves of ``meta.mat``.
    """
    from scipy.io import loadmat

    files = _contents(path)
    try:
        synsets = np.atleast_1d(loadmat(io.BytesIO(files[META]), squeeze_me=True)["synsets"])
        leaves = [s for s in synsets if int(s["num_children"]) == 0]
        wnid_of = {int(s["ILSVRC2012_ID"]): str(s["WNID"]) for s in leaves}
        words_of = {str(s["WNID"]): str(s["words"]) for s in leaves}
    except Exception as error:  # SciPy raises many kinds for a damaged file
        raise ArtifactError(f"devkit '{path}': {META} cannot be read ({error}); {_AWAY}") from error
    wnids = sorted(wnid_of.values())
    number = {wnid: i for i, wnid in enumerate(wnids)}
    labels = []
    for line, text in enumerate(files[TRUTH].decode("ascii", "replace").split(), start=1):
        if not text.isdigit() or int(text) not in wnid_of:
            raise ArtifactError(f"devkit '{path}': {TRUTH}, line {line}: '{text}' is no class of {META}; {_AWAY}")
        labels.append(number[wnid_of[int(text)]])
    return Devkit(np.array(labels, np.int64), wnids, [words_of[w] for w in wnids])
