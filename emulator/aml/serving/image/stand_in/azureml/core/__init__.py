"""A part of azureml-core, where that is not installed."""
