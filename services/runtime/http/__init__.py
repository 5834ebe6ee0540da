"""HTTP inside a service: the embedded server and the internal port."""
