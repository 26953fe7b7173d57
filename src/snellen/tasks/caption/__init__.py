"""Captions: words, boxes and text of any number of images, by Florence-2."""
