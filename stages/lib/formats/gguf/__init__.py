"""Back end `gguf`: Linear layers in the blocks of GGUF, as llama.cpp, stable-diffusion.cpp and ComfyUI read them.

- q8_0, q4_0: blocks of 32 consecutive weights with one scale in FP16.
- q4_k, q5_k: blocks of 256, of which each 32 have a scale and a minimum of six bits, and all two scales in FP16.

A row that is no multiple of 256 is in q5_0 (for q4_k) or q5_1 (for q5_k), as llama.cpp's own tool does; one that is no
multiple of 32 either is not converted. All else that has more than one dimension, such as convolutions and tables of
words, is stored in FP16, vectors in FP32.

Blocks are stored byte for byte as the format says, (out, bytes of a row), in safetensors; `quantization.json` of a
component names the type of each. They are unpacked with diffusers' functions each time a layer reads its weight, and
multiplied in the compute dtype: that saves memory and costs time.
"""
