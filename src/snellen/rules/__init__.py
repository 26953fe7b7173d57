"""The known failures: one file each, found by folder; see `snellen.rules.catalogue`."""
