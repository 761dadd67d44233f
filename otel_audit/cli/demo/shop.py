"""A small customer desk: sign-in, customers, notes. An ordinary Flask application on SQLite.

Nothing here knows of auditing. `otel-audit demo` runs it as any application would be run:

    OTEL_SERVICE_NAME=shop opentelemetry-instrument gunicorn shop:app
"""
# flask-login has no types:
# mypy: disable-error-code="import-untyped, misc, untyped-decorator"
# pyright: reportMissingTypeStubs=false, reportUntypedFunctionDecorator=false, reportUntypedBaseClass=false
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
import secrets
import sqlite3

from flask import Flask, abort, g, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user, logout_user
from werkzeug.security import check_password_hash, generate_password_hash

DATABASE = os.environ.get("SHOP_DATABASE", "shop.db")
SCHEMA = """
CREATE TABLE user (name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL);
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL);
CREATE TABLE note (id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer, author TEXT NOT NULL,
                   text TEXT NOT NULL);
"""

app = Flask(__name__)
app.secret_key = os.environ.get("SHOP_SECRET_KEY") or secrets.token_hex(32)
logins = LoginManager(app)


class User(UserMixin):
    """Somebody who works at the desk."""

    def __init__(self, name: str, role: str) -> None:
        self.id = name
        self.role = role


def database() -> sqlite3.Connection:
    """The request's connection."""
    if "database" not in g:
        g.database = sqlite3.connect(DATABASE)
    connection: sqlite3.Connection = g.database
    return connection


@app.teardown_appcontext
def close_database(_error: BaseException | None) -> None:
    """Close the request's connection, if it opened one."""
    connection = g.pop("database", None)
    if connection is not None:
        connection.close()


@logins.user_loader
def load_user(name: str) -> User | None:
    """The user whom a session names."""
    row = database().execute("SELECT name, role FROM user WHERE name = ?", (name,)).fetchone()
    return User(*row) if row else None


@app.post("/sign-in")
def sign_in() -> ResponseReturnValue:
    """Begin a session."""
    name, password = request.form["name"], request.form["password"]
    row = database().execute("SELECT role, password FROM user WHERE name = ?", (name,)).fetchone()
    if row is None or not check_password_hash(row[1], password):
        abort(401)
    login_user(User(name, row[0]))
    return jsonify(signed_in=name)


@app.post("/sign-out")
@login_required
def sign_out() -> ResponseReturnValue:
    """End a session."""
    logout_user()
    return jsonify(signed_out=True)


@app.get("/customers")
@login_required
def customers() -> ResponseReturnValue:
    """All customers."""
    return jsonify([{"id": row[0], "name": row[1]} for row in database().execute("SELECT id, name FROM customer")])


@app.get("/customers/<int:number>")
@login_required
def customer(number: int) -> ResponseReturnValue:
    """One customer with the notes about them."""
    row = database().execute("SELECT name, email FROM customer WHERE id = ?", (number,)).fetchone()
    if row is None:
        abort(404)
    notes = database().execute("SELECT author, text FROM note WHERE customer = ?", (number,)).fetchall()
    return jsonify(name=row[0], email=row[1], notes=[{"author": author, "text": text} for author, text in notes])


@app.post("/customers/<int:number>/notes")
@login_required
def add_note(number: int) -> ResponseReturnValue:
    """Write a note about a customer."""
    with database() as connection:
        connection.execute(
            "INSERT INTO note (customer, author, text) VALUES (?, ?, ?)",
            (number, current_user.id, request.form["text"]),
        )
    return jsonify(written=True), 201


@app.delete("/customers/<int:number>")
@login_required
def delete_customer(number: int) -> ResponseReturnValue:
    """Forget a customer; managers only."""
    if current_user.role != "manager":
        abort(403)
    with database() as connection:
        connection.execute("DELETE FROM note WHERE customer = ?", (number,))
        connection.execute("DELETE FROM customer WHERE id = ?", (number,))
    return "", 204


def create_database() -> None:
    """Make the tables, three customers, and the two users; passwords come from the environment."""
    people = (("alice", "manager", os.environ["SHOP_ALICE"]), ("bob", "clerk", os.environ["SHOP_BOB"]))
    with sqlite3.connect(DATABASE) as connection:
        connection.executescript(SCHEMA)
        connection.executemany(
            "INSERT INTO user VALUES (?, ?, ?)",
            [
                (name, role, generate_password_hash(password, "pbkdf2:sha256:10000"))
                for name, role, password in people
            ],
        )
        connection.executemany(
            "INSERT INTO customer (name, email) VALUES (?, ?)",
            [
                ("Ada Lovelace", "ada@example.org"),
                ("Grace Hopper", "grace@example.org"),
                ("Alan Turing", "alan@example.org"),
            ],
        )
    connection.close()
