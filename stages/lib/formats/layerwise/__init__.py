"""Back end `layerwise`: weights stored in FP8 (e4m3fn), cast to the compute dtype each time a layer reads them.

It is diffusers' layerwise casting (`enable_layerwise_casting`): a mere cast, without scales, on a CPU or any GPU, that
saves memory and costs time. diffusers itself says which convolutions and linear layers are cast: not those of
normalization, of the patch and position embeddings, and what a network lists as precision-critical; those and all
else are stored in the compute dtype.
"""
