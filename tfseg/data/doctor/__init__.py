"""Checks of a dataset before training, with findings, proposals and a contact sheet."""

from tfseg.data.doctor.examine import Use, examine
from tfseg.data.doctor.findings import Finding, Proposal, Report, as_yaml

__all__ = ["Finding", "Proposal", "Report", "Use", "as_yaml", "examine"]
