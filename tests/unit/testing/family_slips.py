"""Planted slips of the four families."""

from unit.testing.family_slips_bert import BERT
from unit.testing.family_slips_clip import CLIP
from unit.testing.family_slips_gpt import ATTENTION
from unit.testing.family_slips_gpt2 import REST
from unit.testing.family_slips_vit import VIT

SLIPS = {"gpt2": ATTENTION | REST, "bert": BERT, "vit": VIT, "clip": CLIP}
