"""Other frameworks: one a file, thin over the public API, imported by whoever uses it."""
