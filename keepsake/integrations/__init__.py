"""Other frameworks: one a file, thin over the public API, imported only when it is used."""
