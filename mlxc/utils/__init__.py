"""Python trees, and training checkpoints: what models and optimisers have in common.

A tree is any nesting of dicts, lists and tuples; everything else in it is a leaf.
"""

from mlxc.utils.checkpoint import load_checkpoint, save_checkpoint
from mlxc.utils.tree import (
    tree_flatten,
    tree_map,
    tree_map_with_path,
    tree_merge,
    tree_reduce,
    tree_unflatten,
)

__all__ = [
    "load_checkpoint",
    "save_checkpoint",
    "tree_flatten",
    "tree_map",
    "tree_map_with_path",
    "tree_merge",
    "tree_reduce",
    "tree_unflatten",
]
