"""Scores of a segmentation against the truth, each under the name of the definition it follows.

`masks` scores classes; the rest scores label volumes by their table of overlaps (`contingency`), which adds up over
slabs, so that a volume need not fit into memory.
"""
