"""Reading: a plan of slices, pages committed one by one, a watermark or a comparison of ids at the end."""
