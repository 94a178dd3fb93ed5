"""``lightmill view``: look at a product in the browser, on one page, or in DS9."""
