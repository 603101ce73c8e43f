"""What comes in: descriptions of exposures and chips, and windowed reads of their pixels."""
