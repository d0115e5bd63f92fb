"""The applications. Each says again and again which process it is, and each ends its lifespan with a line."""
