"""A run's models in forms that need no SimpleChrome: Keras files, ONNX."""
