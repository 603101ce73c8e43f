"""Headers of the products: blending by rules, drizzle keywords, HDRTAB."""
