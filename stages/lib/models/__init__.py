"""A diffusers pipeline on disk and in memory: its folder, components, calibration inputs, what it stores.

Back ends, generation and timing use it; it knows no numeric format. How a folder is read or a tensor counted may be
changed without looking elsewhere, as long as names of components and units of sizes stay.
"""
