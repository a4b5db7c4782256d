"""One file is one kind of anomaly that a variable can show; the folder is the table of contents."""
