"""Alignment of exposures to each other or to a catalogue: what TweakReg does.

`mosaic.align.run.align` is the flow. Positions on chips are 0-based pixels; positions in the reference frame
are pixels relative to its reference pixel, and a solution maps reference to image: image = ref F + offset.
"""
