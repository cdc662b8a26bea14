"""Back end `onnxruntime`: the networks as ONNX graphs, run by ONNX Runtime on the CPU, in FP32 or real INT8.

- weights float32: a control, which tells what the runtime alone gives.
- weights int8, activations int8: ONNX Runtime's static quantization of convolutions, linear layers and embeddings, with
  ranges of activations calibrated on inputs of the FP32 pipeline; everything else is computed in FP32.

Each converted component is an ONNX graph: `model.onnx.data` holds the constants, raw, one after the other, and
`model.onnx.gz` the graph with constants below a KiB inside. Neither can run code when it is read. `onnxruntime.json`
lists the SHA-256 of both, and a file that differs is refused. The VAE's encoder is not needed to generate: it is
neither stored nor counted. The safety checker's thresholds stay in PyTorch.
"""
