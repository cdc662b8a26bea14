"""Back end `bitsandbytes`: Linear layers by bitsandbytes' own modules, on a CPU or a GPU.

- weights nf4, fp4: codes of four bits, two a byte, and for each 64 consecutive weights their largest magnitude in FP32
  (QLoRA, Dettmers et al. 2023). They are unpacked at each call and multiplied in the compute dtype.
- weights int8: LLM.int8 (Dettmers et al. 2022). Activations are rounded anew in every call, row by row, integers are
  multiplied, and columns of activations beyond a threshold are multiplied in floating point instead.

Left in the compute dtype is what is no Linear layer, a Linear layer that shares its weight with another layer, and one
that its network wants in FP32 (`_keep_in_fp32_modules`), as diffusers and transformers do. `quantization.json` of a
component names its quantized layers.

A CPU with AVX512_BF16 multiplies four-bit weights without unpacking them to memory where the compute dtype is bfloat16
and the widths fit; it packs them anew in the first call, with magnitudes in BF16.
"""
