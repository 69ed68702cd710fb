"""The laboratory: configuration, training runs, evaluation, reports, command line."""
