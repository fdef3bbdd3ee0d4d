"""Apply a fitted model: probability, what moved it, and the checks of what goes in and comes out."""
