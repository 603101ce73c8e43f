"""Small tools on single files: coordinates, regions, flags, photometric keywords, satellite trails."""
