"""Validation, files, provenance, processes, progress: nothing that knows a problem."""
