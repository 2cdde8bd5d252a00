"""Functions behind the commands of `tfseg`, one per module, and the run directory."""
