# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
# ---

# %% [markdown]
# # What changed between two spans of time?
#
# It compares the features of one device in two spans: two days, or before and after an adjustment. The key of the API is in the
# variable `SHOTWATCH_API_KEY`.

# %%
import matplotlib.pyplot as plt
import pandas as pd
import shotwatch_client

client = shotwatch_client.connect("http://127.0.0.1:8000")
device = "LA_A1_11-Spectro_1-Spectro-1"
features = ["spectrum_centroid"]
places = client.places().set_index("place")
end = places.loc["LA-A1-11", "shot_at"].ceil("1min")
half = pd.Timedelta("30min")
spans = {"before": (end - 2 * half, end - half), "after": (end - half, end)}

# %%
found = {name: client.series(device, features, *span).dropna() for name, span in spans.items()}
print({name: len(values) for name, values in found.items()})

# %% [markdown]
# Medians, and the change of each in units of the scatter (the median absolute deviation) of the first span:

# %%
before, after = found["before"], found["after"]
scatter = 1.4826 * (before - before.median()).abs().median()
change = pd.DataFrame({"before": before.median(), "after": after.median()})
change["change"] = change["after"] - change["before"]
change["in σ"] = change["change"] / scatter
print(change.round(2))

# %%
figure, axes = plt.subplots(len(features), 1, squeeze=False)
for row, feature in zip(axes[:, 0], features, strict=True):
    for name, values in found.items():
        row.hist(values[feature], bins=30, alpha=0.6, label=name)
    row.set_xlabel(feature)
    row.legend()
plt.show()
