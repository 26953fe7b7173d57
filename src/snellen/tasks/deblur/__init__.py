"""Video deblurring by VRT, with the spikes of a second camera or without."""
