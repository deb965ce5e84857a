"""Notebooks in which a shot or an event is loaded, for researchers who continue from the page.

A notebook holds no key: it has the rights of whoever runs it. Names from outside stand in the code only, as
literals, never in the text.
"""

import json
from collections.abc import Sequence

_CONNECT = """\
import matplotlib.pyplot as plt
import pandas as pd
import shotwatch_client

client = shotwatch_client.connect({address!r})
shot = client.shot({shot!r})
print(shot)"""
_MEMBERS = """\
print(shot.members[["device", "kind", "verdict", "file"]])
print(shot.anomalies[["number", "kind", "severity", "why"]])"""
_FRAMES = """\
moment = shot.time, shot.time + pd.Timedelta("1ms")
recorded = shot.members[shot.members["block"].notna()]
for camera in recorded.loc[recorded["kind"] == "Camera", "device"]:
    try:
        frame = client.frames(camera, *moment)[0]
    except shotwatch_client.NoData as error:
        print(error)
        continue
    figure, axes = plt.subplots()
    axes.imshow(frame)
    axes.set_title(camera)"""
_SPECTRA = """\
for spectrometer in recorded.loc[recorded["kind"] == "Spectro", "device"]:
    try:
        spectrum = client.spectra(spectrometer, *moment)[0]
    except shotwatch_client.NoData as error:
        print(error)
        continue
    figure, axes = plt.subplots()
    axes.plot(spectrum)
    axes.set_title(spectrometer)"""
_FEATURES = """\
print(shot.features.to_string())"""
_OF_EVENT = """\
devices = {devices!r}
print(shot.features[shot.features["device"].isin(devices)].to_string())"""
_NEIGHBOURS = """\
minute = pd.Timedelta("1min")
around = client.shots(shot.place, shot.time - minute, shot.time + minute, interval=shot.interval)
axes = around.plot(x="time", y="score", style=".")
axes.axvline(shot.time, color="red")
if shot.threshold == shot.threshold:  # it is NaN if no model scored the shot
    axes.axhline(shot.threshold, linestyle="--")"""
_EXPORT = """\
print(client.exports.nexus(shot.shot, "shot.nxs"))"""
_KEY = (
    "The code needs the package `shotwatch-client` and matplotlib. The key of the API is in the variable "
    "`SHOTWATCH_API_KEY`; `shotwatch keys create` makes one. This notebook contains no key."
)


def shot_notebook(address: str, shot: str) -> bytes:
    """Return a notebook (JSON, version 4.5) about a shot; `address` is that of the API."""
    return _notebook(
        "# A shot\n\n" + _KEY, _CONNECT.format(address=address, shot=shot), ("## All features", _FEATURES)
    )


def event_notebook(address: str, shot: str, kind: str, devices: Sequence[str]) -> bytes:
    """Return a notebook about the shot of an event of this kind, which these devices caused."""
    features = _OF_EVENT.format(devices=list(devices))
    return _notebook(
        f"# An anomaly: {kind}\n\n" + _KEY,
        _CONNECT.format(address=address, shot=shot),
        ("## Features of the devices of the event", features),
    )


def _notebook(title: str, connect: str, features: tuple[str, str]) -> bytes:
    parts = [
        (title, connect),
        ("## What each device recorded, and what was anomalous", _MEMBERS),
        ("## Frames", _FRAMES),
        ("## Spectra", _SPECTRA),
        features,
        ("## The shots around it", _NEIGHBOURS),
        ("## Take it with you\n\nAs NeXus; `client.exports` has more formats.", _EXPORT),
    ]
    cells = [cell for number, (text, code) in enumerate(parts) for cell in _cells(number, text, code)]
    document = {
        "cells": cells,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(document, indent=1).encode()


def _cells(number: int, text: str, code: str) -> list[dict[str, object]]:
    return [
        {"cell_type": "markdown", "id": f"text-{number}", "metadata": {}, "source": text},
        {
            "cell_type": "code",
            "id": f"code-{number}",
            "metadata": {},
            "source": code,
            "execution_count": None,
            "outputs": [],
        },
    ]
