"""Checks of a study, a module for each of its sections: one line for each entry that cannot be."""
