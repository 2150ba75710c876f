"""Numerical tools that know no domain: splines, Newton's method, jets, quadrature."""
