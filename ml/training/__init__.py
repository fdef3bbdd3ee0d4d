"""Fit a model: parameters, features, calibration, and what optional parts are worth."""
