"""Headers of the products: blending by rules, drizzle keywords, HDRTAB."""

from mosaic.headers.reblend import blendheaders

__all__ = ["blendheaders"]
