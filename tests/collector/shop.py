"""A Flask application on SQLite that knows nothing of auditing."""

from __future__ import annotations

import sqlite3

from flask import Flask

app = Flask(__name__)


@app.get("/customers/<int:number>")
def customer(number: int) -> dict[str, int]:
    """One access, one query."""
    connection = sqlite3.connect(":memory:")
    try:
        (answer,) = connection.execute("SELECT ?", (number,)).fetchone()
    finally:
        connection.close()
    return {"customer": answer}
