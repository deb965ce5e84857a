# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # Do two devices agree?
#
# A camera sees light in proportion to the energy that a meter measures. Where they do not agree, one of them is wrong, or the beam
# was clipped between them. The key of the API is in the variable `SHOTWATCH_API_KEY`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import shotwatch_client

client = shotwatch_client.connect("http://127.0.0.1:8000")
camera, meter = "LA_A1_11-Camera_1-Camera-1", "LA_A1_11-EM_1-EnergyMeter-1"
places = client.places().set_index("place")
end = places.loc["LA-A1-11", "shot_at"]
start = end - pd.Timedelta("3h")

# %% [markdown]
# Features of two devices join by the time of the pulse. `client.features()` lists all of them: `centroid_x` in place of
# `total_intensity` shows whether the beam moves with its energy.

# %%
light = client.series(camera, "total_intensity", start, end)
energy = client.series(meter, "energy", start, end)
joined = light.join(energy, how="inner").dropna()
print(len(joined), "shots have both")

# %%
correlation = np.corrcoef(joined["energy"], joined["total_intensity"])[0, 1]
slope, offset = np.polyfit(joined["energy"], joined["total_intensity"], 1)
print(f"correlation {correlation:.3f}, {slope:.0f} counts/J")

# %%
axes = joined.plot.scatter(x="energy", y="total_intensity", s=4)
line = np.array([joined["energy"].min(), joined["energy"].max()])
axes.plot(line, slope * line + offset)
axes.set(xlabel="energy / J", ylabel="total intensity / counts")
plt.show()

# %% [markdown]
# The shots that are furthest from the line:

# %%
joined["distance"] = joined["total_intensity"] - (slope * joined["energy"] + offset)
print(joined.reindex(joined["distance"].abs().sort_values(ascending=False).index).head())
