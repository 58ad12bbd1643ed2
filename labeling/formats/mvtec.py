"""One object of MVTec AD: train/good, test/<defect>, ground_truth/<defect>/<image>_mask.png.

Layout from Bergmann et al., "MVTec AD — A Comprehensive Real-World Dataset for Unsupervised Anomaly Detection",
CVPR 2019. The class of a good part is "good".
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from labeling.formats.image_files import Walk, walk
from labeling.formats.listing import INSPECTOR, FoundImage, FoundLabel, Listing, Problem, refuse_columns

NAME = "mvtec"
LOOKS_LIKE = "MVTec AD's train/good and test/"
_MASKS = "ground_truth"


def recognises(path: Path) -> bool:
    """Whether the folder has both train/good and test."""
    return (path / "train" / "good").is_dir() and (path / "test").is_dir()


def read(path: Path, columns: Mapping[str, str]) -> Listing:
    """List the images of train/ and test/ with split and mask. Raises BrokenListing, WrongColumn."""
    refuse_columns(path, columns)
    root = path.resolve()
    files = walk(root)
    masks = {name for name in files.images if name.startswith(f"{_MASKS}/")}
    images = tuple(
        _image(root, name, masks)
        for name in files.images
        if name.split("/")[0] in ("train", "test") and name.count("/") >= 2
    )
    return Listing(NAME, root, images, (*files.problems, *_problems(files, images, masks)))


def _mask_name(name: str) -> str:
    inner = PurePosixPath(name).relative_to("test")
    return str(PurePosixPath(_MASKS) / inner.with_name(f"{inner.stem}_mask.png"))


def _image(root: Path, name: str, masks: set[str]) -> FoundImage:
    split, defect, *_ = name.split("/")
    mask = _mask_name(name) if split == "test" else None
    return FoundImage(
        path=root / name,
        name=name,
        labels=(FoundLabel(defect, INSPECTOR, None),),
        group=None,
        split=split,
        lot=None,
        part_id=None,
        captured_at=None,
        mask=mask if mask in masks else None,
    )


def _problems(files: Walk, images: tuple[FoundImage, ...], masks: set[str]) -> list[Problem]:
    problems = [
        Problem(mask, "no test image belongs to this mask", "add the image or remove the mask")
        for mask in sorted(masks - {image.mask for image in images})
    ]
    problems += [
        Problem(image.name, "the defect has no mask", f"add {_mask_name(image.name)}")
        for image in images
        if masks and image.split == "test" and image.mask is None and image.labels[0].label != "good"
    ]
    # A licence and a readme lie beside train/ and test/ in every object as published: those are not worth a line.
    problems += [
        Problem(name, "is not an image", "take it out, or convert it to PNG, JPEG, BMP or TIFF")
        for name in files.others
        if "/" in name
    ]
    taken = {image.name for image in images} | masks
    strays = Counter(str(PurePosixPath(name).parent) for name in files.images if name not in taken)
    problems += [
        Problem(folder, f"{count} images are in neither train/<class> nor test/<class>", "move them there")
        for folder, count in sorted(strays.items())
    ]
    return problems
