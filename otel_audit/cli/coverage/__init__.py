"""What is audited, and what is not? A process that imports the application, surveys of it, and the answer."""
