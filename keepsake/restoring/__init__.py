"""Checkout: the files of archives go into a directory, all or nothing, with undo."""
