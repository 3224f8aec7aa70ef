"""Where mlxc answers otherwise than MLX on purpose, and why.
"""
from typing import NamedTuple
class Difference(NamedTuple):
    source: str
    said: str
    reason: str
DIFFERENCES=[]
SIGNATURES=[]
UNASKED={}
