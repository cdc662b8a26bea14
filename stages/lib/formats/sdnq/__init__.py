"""Back end `sdnq`: Linear layers and convolutions by SDNQ, on a CPU or a GPU.

SDNQ (github.com/Disty0/sdnq) is under GPL-3.0: this project neither installs nor requires it, and copies nothing of it.
`pip install sdnq` is the user's choice; it is imported here alone, and used through its own functions.

- weights int8: integers with one FP32 scale for each output channel, of a convolution for each place of its kernel.
- weights uint4: two a byte, with one FP32 scale and one FP32 zero point for each 64 consecutive inputs of an output.
- activations none: weights are unpacked at each call and multiplied in the compute dtype. int8: with weights int8,
  activations are rounded anew in every call, row by row, and integers are multiplied, in convolutions as well, which
  then have one scale for each output channel.

SDNQ itself says which layers are converted: none of fewer than `least_weights` (16,384) or 32 inputs, and none that it
knows as delicate, such as time embeddings; and none here that shares its weight with another layer, or that another
module uses. What is left is stored in the compute dtype. `quantization.json` of a component names its quantized layers.

SDNQ would compile each of its functions by itself and multiply by kernels of its own (Triton, OpenVINO), whose work
cannot be counted. It is told to use PyTorch's.
"""
