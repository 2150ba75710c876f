"""Diffusion models of any family of diffusers: what their files hold, their networks, samplers and prompts."""
