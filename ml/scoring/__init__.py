"""Apply a fitted model: probability, feature influences, and checks of input and output."""
