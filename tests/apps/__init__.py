"""Applications made with other libraries, each served by wsctl and used by its library's own client."""
