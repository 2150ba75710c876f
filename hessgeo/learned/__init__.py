"""Learned sufficient statistics: encoders of states and exponential families on them."""
