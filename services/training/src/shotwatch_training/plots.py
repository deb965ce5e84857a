"""Plots of a training run."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from shotwatch_detector.arrays import Images
from shotwatch_training.models.fitting import Epoch


def plot_curves(epochs: Sequence[Epoch], path: Path) -> None:
    """Plot training and validation loss over epochs, as PNG."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    numbers = [epoch.number for epoch in epochs]
    axes.semilogy(numbers, [epoch.loss for epoch in epochs], "o-", label="training")
    axes.semilogy(numbers, [epoch.validation_loss for epoch in epochs], "o-", label="validation (later)")
    axes.set(xlabel="epoch", ylabel="mean squared error")
    axes.legend()
    figure.savefig(path)


def plot_reconstructions(images: Images, reconstructions: Images, path: Path) -> None:
    """Plot images (n, h, w), their reconstructions and residuals side by side, one row each, as PNG."""
    figure = Figure(figsize=(9, 2.4 * len(images)), layout="constrained")
    rows = figure.subplots(len(images), 3, squeeze=False)
    for row, image, reconstruction in zip(rows, images, reconstructions, strict=True):
        residual = image - reconstruction
        largest = abs(residual).max()
        row[0].imshow(image, vmin=0, vmax=1)
        row[1].imshow(reconstruction, vmin=0, vmax=1)
        row[2].imshow(residual, vmin=-largest, vmax=largest, cmap="RdBu_r")
        for axes, title in zip(row, ("image", "reconstruction", f"residual, ± {largest:.2g}"), strict=True):
            axes.set_title(title)
            axes.set_axis_off()
    figure.savefig(path)
