"""How other projects name and store weights, as plain values: one file a paper."""
