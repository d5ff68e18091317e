"""Runs of other tools, brought into a repository. One module reads one kind of source, with nothing of its tool."""
