"""Back end `torch_dynamic`: PyTorch dynamic quantization of Linear layers, on the CPU.

Weights are INT8 with one scale per tensor or per output channel; activations are quantized to INT8 anew in every
call. Everything that is not a Linear layer stays FP32. What quantize_dynamic makes is a packed object that PyTorch only
pickles, so the integers, scales and zero points are stored instead and packed again at load: the same bits.
"""
