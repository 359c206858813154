"""The schema language: text to positions, names, types, and the values that the engine follows."""
