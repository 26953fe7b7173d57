"""Copy-move forgery: which areas of a photo were copied, and from where."""
