"""Runs of other tools. data/ holds files that tensorboardX 2.6.5 and W&B 0.31.0 wrote."""
