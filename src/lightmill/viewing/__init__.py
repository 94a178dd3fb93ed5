"""Look at images in a browser or in DS9: pages, tiles, and who serves and sends them."""
