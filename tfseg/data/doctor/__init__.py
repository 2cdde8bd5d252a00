"""Checks of a dataset before training, with findings, proposals and a contact sheet."""

from tfseg.data.doctor.examine import Use, examine
from tfseg.data.doctor.findings import Finding, Proposal, Report

__all__ = ["Finding", "Proposal", "Report", "Use", "examine"]
