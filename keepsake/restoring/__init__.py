"""Files of an archive put into a directory, all or nothing, with undo."""
