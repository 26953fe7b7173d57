"""Every image of a data folder opened and measured; pictures that show the same found."""
