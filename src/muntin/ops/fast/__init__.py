"""Tuned twins of the functions in `ops`, each tested equal to the plain one."""
