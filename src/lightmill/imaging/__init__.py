"""From count rates to calibrated images, mosaics and catalogs: the steps every imager shares."""
