"""The main job on the embedded stack, from files to events, with the sums done at the end."""
