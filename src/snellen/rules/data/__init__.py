"""Images, masks and folders."""
