"""The plumbing shared by the Snakefile and its scripts: settings, paths, the context of a script."""

from hessgeo.pipeline.context import Step, pick_device, script_context

__all__ = ["Step", "pick_device", "script_context"]
