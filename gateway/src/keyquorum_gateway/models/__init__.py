"""Requests and responses of the REST API: the models that validate are the ones that the OpenAPI document is made of."""
