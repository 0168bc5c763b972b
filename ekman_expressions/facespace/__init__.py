"""Face space: the template on which all faces are aligned, the warp, Ekman masks and heatmaps."""
