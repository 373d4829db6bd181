"""Who drives a scenario at which distance: one file each."""
