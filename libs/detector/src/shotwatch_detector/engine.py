"""The engine that runs the network. Training uses TensorFlow; scoring does not import it."""

from threading import Lock
from typing import Protocol

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from shotwatch_detector.arrays import Images


class Engine(Protocol):
    """A trained autoencoder, ready to run."""

    def reconstruct(self, images: Images) -> Images:
        """Return the network's reconstruction of normalised images: (n, h, w) → (n, h, w)."""
        ...


class LiteRtEngine:
    """A network in TFLite's format, run by LiteRT on one thread. Safe to share between threads.

    Raises:
        ValueError: the bytes are not a network, or not one from (n, h, w, 1) to (n, h, w, 1).
    """

    def __init__(self, network: bytes) -> None:
        self._interpreter = Interpreter(model_content=network, num_threads=1)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._count = 0
        self._lock = Lock()
        self._check_shapes()

    def reconstruct(self, images: Images) -> Images:
        with self._lock:
            self._make_room(images.shape)
            self._interpreter.set_tensor(self._input, images[..., np.newaxis])
            self._interpreter.invoke()
            reconstruction: Images = self._interpreter.get_tensor(self._output)[..., 0]
            return reconstruction

    def _make_room(self, shape: tuple[int, ...]) -> None:
        if shape[0] != self._count:
            self._interpreter.resize_tensor_input(self._input, (*shape, 1))
            self._interpreter.allocate_tensors()
            self._count = shape[0]

    def _check_shapes(self) -> None:
        before, after = (
            tuple(details[0]["shape_signature"])
            for details in (self._interpreter.get_input_details(), self._interpreter.get_output_details())
        )
        if len(before) != 4 or before != after or before[3] != 1:
            raise ValueError(f"the network maps {before} to {after}, not (n, h, w, 1) to the same")
