"""Fit a model: parameter selection, feature selection, calibration, ablation."""
