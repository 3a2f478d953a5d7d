"""The embedded stack: broker and model server as child processes of this machine."""
