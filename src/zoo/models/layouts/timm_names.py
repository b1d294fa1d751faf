"""What timm's names of architectures say that tensors do not: heads, the gelu, the pooling.

From timm 1.0.31, timm/models/vision_transformer.py and deit.py.
"""

FAMILIES = ("vit", "deit", "deit3", "flexivit")

# the word after the family: how many heads
HEADS = {
    "tiny": 3,
    "wee": 4,
    "dwee": 4,
    "little": 5,
    "dlittle": 5,
    "small": 6,
    "medium": 8,
    "mediumd": 8,
    "betwixt": 10,
    "base": 12,
    "so150m2": 13,
    "so150m": 14,
    "large": 16,
    "huge": 16,
    "so400m": 16,
    "giant": 16,
    "giantopt": 16,
    "gigantic": 16,
}
# beginnings of names that are exceptions
OTHER_HEADS = {
    "vit_base_patch16_gap": 16,
    "vit_base_patch16_plus": 14,
    "vit_base_patch32_plus": 14,
}
TANH = (
    "vit_base_patch32_siglip_gap",
    "vit_large_patch16_siglip_gap_512",
    "vit_so400m_patch16_siglip_gap",
    "vit_giantopt_patch16_siglip_gap",
)
# these have the tensors of a ViT and normalise what a block adds instead of what it reads
NORM_BEHIND = ("vit_base_patch16_rpn",)


def is_plain(name: str) -> bool:
    """Tell whether an architecture of this name may be a ViT as ours is."""
    return name.split("_")[0] in FAMILIES and not name.startswith(NORM_BEHIND)


def heads_of(name: str) -> int | None:
    """Give the heads of an architecture; None where its name does not tell."""
    for beginning, heads in OTHER_HEADS.items():
        if name.startswith(beginning):
            return heads
    return HEADS.get(name.split("_")[1] if "_" in name else "")


def gelu_of(name: str) -> str:
    """Give timm's word for the gelu of an architecture."""
    if name.startswith(TANH):
        return "gelu_tanh"
    return "quick_gelu" if "quickgelu" in name else "gelu"


def pooling_of(name: str) -> str:
    """Give timm's word for the pooling of an architecture."""
    return "avg" if "_gap_" in name else "token"
