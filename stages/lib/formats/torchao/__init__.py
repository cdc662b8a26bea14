"""Back end `torchao`: Linear layers by torchao's `quantize_`, on a CPU or a GPU.

- weights int8, activations none: integers are stored and cast each time a layer reads them; arithmetic is in floating
  point, in the compute dtype.
- weights int8, activations int8: activations are rounded anew in every call, with one scale per row, and
  integers are multiplied.
- weights float8 (e4m3fn), activations none or float8: likewise in FP8, on a GPU of compute capability 8.9 or more;
  `granularity: tensor` gives a weight, and what it is multiplied with, one scale.
- weights int4: groups of `group_size` weights with a scale and a zero point in BF16, unpacked in PyTorch's own kernel
  (`_weight_int4pack_mm`), on a GPU of compute capability 8.0 or more. Rows that the kernel's multiple of 1024 weights
  would make much longer stay in BF16. torchao's other packings need a package beyond it (mslk).

Otherwise a weight has one scale per output channel. Layers narrower than `least_width` stay as they are. Everything
that is not a Linear layer is stored and computed in the compute dtype. Convolutions stay as they are: torchao 0.18
converts a Conv2d to INT8 without a word, and its forward then raises. With `convolutions: int8` their weights are
stored as integers all the same: see `convolutions.py`. Nor are all Linear layers converted where activations are: see
`layers.py`.

Integers, scales and zero points are stored as plain tensors in safetensors, and put back at load into the tensors that
`quantize_` makes: the same bits. `quantization.json` of a component names its quantized layers.

`compile: true` runs the converted networks under torch.compile; compiling happens in the first call.
"""
