"""Images, masks and folders: reading, layouts, synthesis."""
