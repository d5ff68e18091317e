"""The files of a snapshot in one .tar.gz that can be read in part."""
