"""WCS solutions of exposures: alternates, headerlets, corrections carried over, and the record of them."""
