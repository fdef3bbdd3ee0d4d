"""Model evaluation: metrics, groups, importance, baselines, plots, reports, promotion."""
