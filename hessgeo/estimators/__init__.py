"""Estimators of the free energy and the Fisher metric of a system from its samples, under one interface."""
