"""What runtimes share whose work is done by a program from elsewhere. Keep this file empty: monitors import it."""
