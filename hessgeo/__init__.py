"""The Hessian geometry of what a generative model has learned."""

__version__ = "0.1.0"
