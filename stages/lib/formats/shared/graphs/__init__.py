"""What back ends share that run networks as exported graphs: tracing, modules that run them, files, parameters."""
