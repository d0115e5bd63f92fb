"""A service that makes a mistake: it has two hubs."""

from fastapi import FastAPI

from wsctl import Hub

first = Hub()
second = Hub()
app = FastAPI(lifespan=first.lifespan)
