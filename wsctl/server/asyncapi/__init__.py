"""What goes over `/ws/{client_id}`, described for programs: an AsyncAPI 3 document."""
