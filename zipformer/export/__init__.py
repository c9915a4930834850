"""Trained models as files: for publishing, and for other runtimes."""

from zipformer.export.live_step import OnnxSteps
from zipformer.export.models import export_offline, export_streaming
from zipformer.export.options import Options
from zipformer.export.weights import export_weights

__all__ = ["OnnxSteps", "Options", "export_offline", "export_streaming", "export_weights"]
