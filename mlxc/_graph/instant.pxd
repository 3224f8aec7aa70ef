"""Recipes of little work, run at once."""

from mlxc._graph.recipe cimport Recipe

# The outputs over arrays, evaluated; None where that is much work, or an input has no data yet.
cdef list outputs_at_once(Recipe recipe, list values)
