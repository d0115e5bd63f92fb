"""The AsyncAPI 3 document: the frames of `/ws/{client_id}`, described for programs."""
