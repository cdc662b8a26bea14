"""Back end `torch`: weights cast to a floating-point dtype, or rounded to integers and stored in FP16 (simulated).

Simulated are weights of 8, 6 or 4 bits, symmetric, with one scale per tensor, output channel or group (see
stages.lib.formats.shared.quantization), and on request activations of 8, 6 or 4 bits (see the module `activations`).

How a network computes in another dtype than its weights are stored in: stages.lib.formats.shared.casting.
"""
