"""The report of several runs and studies side by side: numbers, tables, one HTML page."""
