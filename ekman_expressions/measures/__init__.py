"""What heatmaps and explanations are worth: scores, chance, uncertainty, trees, regions, quality."""
