"""How a picture is cut into patches: by a convolution, or by reshapes and a linear map."""

from torch import Tensor
from torch.nn import functional as F

from zoo.testing.family.layers import Layer
from zoo.testing.family.steps import Step, near


def patch_slips(patches: Layer) -> list[tuple[str, Tensor]]:
    """Give what known slips make of the patches of a convolution."""
    if patches.y.dim() != 4:
        return []
    wide = patches.y
    columns = wide.transpose(2, 3).flatten(2).transpose(1, 2)
    mixed = wide.reshape(len(wide), -1, wide.shape[1])
    return [
        ("patches are read column by column", columns),
        ("channels and positions are mixed by a reshape", mixed),
    ]


def patches_step(name: str, patches: Layer, pixels: Tensor) -> Step:
    """Compare what the patch map reads with the picture cut into patches."""
    if patches.kind == "map":
        return patch_rows(name, patches, pixels)
    found, kernel = (
        patches.y.shape[2:],
        patches.value.shape[2:] if patches.value is not None else (),
    )
    right = tuple(n // k for n, k in zip(pixels.shape[2:], kernel, strict=False))
    if patches.x is not None and not near(patches.x, pixels) and near(patches.x, pixels.mT):
        said, fix = "rows and columns of the picture are swapped", "read (b, c, rows, columns)"
        return Step(name, False, str(patches), patches.line, said, fix)
    if kernel and tuple(found) != right:
        said = f"a kernel of {tuple(kernel)} gives {tuple(found)} patches, where cutting gives "
        fix = "nn.Conv2d(channels, width, patch, stride=patch)"
        return Step(name, False, str(patches), patches.line, said + str(right), fix)
    return Step(name, True, str(patches), patches.line)


def patch_rows(name: str, patches: Layer, pixels: Tensor) -> Step:
    """Compare the rows that a patch map reads with the patches of the picture, row by row."""
    if patches.x is None or patches.x.dim() != 3:
        said, fix = "what it reads are no rows of patches", "read (b, patches, pixels of a patch)"
        return Step(name, False, str(patches), patches.line, said, fix)
    found = patches.x
    if not same_numbers(found, pixels):
        said, fix = "it reads other numbers than the picture's", "cut the picture into patches"
        return Step(name, False, str(patches), patches.line, said, fix)
    count, size = found.shape[-2], found.shape[-1]
    channels, high, wide = pixels.shape[1:]
    for p in range(1, high + 1):
        for q in range(1, wide + 1):
            if high % p or wide % q or p * q * channels != size or high // p * (wide // q) != count:
                continue
            right = cut_patches(pixels, (p, q))
            if sorted_near(found, right):
                return Step(name, True, str(patches), patches.line)
            columns = cut_patches(pixels.transpose(2, 3), (q, p))
            if sorted_near(found, columns):
                said = "patches are read column by column"
                fix = "order them row by row: permute so that the row of patches comes first"
                return Step(name, False, str(patches), patches.line, said, fix)
    said = "a row holds pixels of more than one patch: a reshape cuts across the picture"
    fix = "reshape to (b, c, y, p, x, q), permute to (b, y, x, ...), then flatten"
    return Step(name, False, str(patches), patches.line, said, fix)


def same_numbers(one: Tensor, picture: Tensor) -> bool:
    """Say whether a tensor holds the numbers of a picture, in whatever order."""
    if one.numel() != picture.numel():
        return False
    return near(one.flatten().sort().values, picture.flatten().sort().values)


def cut_patches(pixels: Tensor, patch: tuple[int, int]) -> Tensor:
    """Cut (b, c, y, x) into patches row by row, each a row of its pixels."""
    return F.unfold(pixels, patch, stride=patch).transpose(1, 2)


def sorted_near(one: Tensor, other: Tensor) -> bool:
    """Say whether rows hold the same numbers, in whatever order within a row."""
    return one.shape == other.shape and near(one.sort(-1).values, other.sort(-1).values)
