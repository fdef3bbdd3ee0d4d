"""How good a model is, for whom, and why: measures, baselines, plots, reports, promotion."""
