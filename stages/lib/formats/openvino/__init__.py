"""Back end `openvino`: the networks as OpenVINO graphs on the CPU, in FP32, BF16 or real INT8 (NNCF).

- weights float32 or float16: a control, which tells what the runtime alone gives.
- weights int8, activations none: NNCF stores the weights of convolutions, linear layers and embeddings as integers, one
  scale per output channel; arithmetic is in the compute dtype.
- weights int8, activations int8: NNCF's post-training quantization of convolutions and linear layers, calibrated
  on inputs of the FP32 pipeline; attention, the layers that compression.py names and what has no integer kernel are
  computed in the compute dtype.

Each converted component is an OpenVINO graph: `openvino_model.bin` holds the constants, raw, one after the other, and
`openvino_model.xml.gz` the graph, as text (for a small model, XML is a quarter of the bytes unless compressed). Neither
can run code when it is read. `openvino.json` lists the SHA-256 of both, and a file that differs is refused. The VAE's
encoder is not needed to generate: it is neither stored nor counted. The safety checker's thresholds stay in PyTorch.

This CPU runtime chooses BF16 by itself where the processor has it: the precision is therefore always asked for.
"""
