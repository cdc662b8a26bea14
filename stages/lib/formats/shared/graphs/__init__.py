"""What back ends share that run networks as graphs of another runtime: tracing, stand-in modules, files, parameters."""
