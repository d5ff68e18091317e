"""The report: one HTML file that shows experiments, with everything in it."""
